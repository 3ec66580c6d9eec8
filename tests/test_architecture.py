"""The shape of the house, read from the source: who imports whom, what loads at import, what the code never does."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("surfrecon", "apps", "data_tools", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))
PACKAGE = [path for path in SOURCES if path.parts[len(ROOT.parts)] in ("surfrecon", "apps", "data_tools")]
OUTER = ("apps", "data_tools", "benchmarks", "examples")  # may import anything public

FOUNDATION = {"geometry", "run", "errors", "headroom"}
FITTING = {"checkpoints", "optimize"}
ALLOWED = {  # part of surfrecon -> parts of surfrecon that it may import
    "errors": set(),
    "headroom": set(),
    "run": set(),
    "geometry": {"errors"},
    "conventions": set(),
    "keypoints": set(),
    "bounding": {"errors"},
    "views": {"bounding", "geometry", "errors"},
    "hull_surface": {"views", "extract", "fields", "repair", *FOUNDATION},
    "visible": {"views", "pictures", "geometry"},
    "image_quality": {"errors"},
    "photo_consistency": {"views", "visible", "image_quality", "pictures", "stereo", "inverse_depth", "ops", "geometry", "errors"},
    "patches": {"views", "stereo", "inverse_depth", "image_quality", "ops"},
    "view_quality": {"views", "visible", "image_quality", "photo_consistency", "pictures", "geometry", "errors"},
    "dtu": {"views", "metrics", "repair", "geometry", "errors"},
    "rigid_motion": FOUNDATION,
    "inverse_depth": {"ops", "views"},
    "plane_sweep": {"views", "bounding", "image_quality", "inverse_depth", "ops"},
    "fusion": {"views", "hull_surface", "inverse_depth", "plane_sweep", "stray_points", "thinning", *FOUNDATION},
    "stray_points": {"views"},
    "backdrop": {"views"},
    "stereo": {"views", "backdrop", "plane_sweep", "fusion", *FOUNDATION},
    "pose_check": {"views", "bounding", "conventions", "keypoints", "errors"},
    "tracks": {"views", "keypoints", "pose_check", "run"},
    "outlines": set(),
    "poses": {"errors"},
    "bundle": {"outlines", "poses", "tracks", "run"},
    "photometric": {"views", "image_quality", "inverse_depth", "patches", "poses", "stereo", *FOUNDATION},
    "pose_refinement": {"views", "bundle", "outlines", "photometric", "poses", "stereo", "tracks", *FOUNDATION},
    "sfm": {"views", "io", *FOUNDATION},
    "visibility": {"views", "pictures", *FOUNDATION},
    "appearance": {"views", "visibility", *FOUNDATION},
    "atlas": {"geometry"},
    "texture": {"views", "visibility", "appearance", "atlas", "decimation", *FOUNDATION},
    "decimation": {"metrics", "repair", *FOUNDATION},
    "smoothing": {"geometry"},
    "holes": {"repair", "geometry"},
    "section": {"geometry"},
    "ops": {"errors"},
    "shape_set": {"io", "geometry", "errors"},  # of io the files of arrays only
    "networks": {"shape_set", "io", *FOUNDATION},
    "fields": {"networks", "rendering", "views", "ops", *FOUNDATION},
    "rendering": {"views", "ops", *FOUNDATION},
    "orientation": {"ops", *FOUNDATION},
    "quadrics": set(),
    "outliers": {"quadrics", *FOUNDATION},
    "quality": {"quadrics", *FOUNDATION},
    "local_surfaces": {"quadrics", "quality", *FOUNDATION},
    "thinning": FOUNDATION,
    "selection": {"thinning", *FOUNDATION},
    "losses": {"fields", "ops", *FOUNDATION},  # linear terms are rows over a grid's levels
    "checkpoints": {"io", *FOUNDATION},  # of io the atomic files only
    "optimize": {"checkpoints", "ops", *FOUNDATION},
    "survey": {"orientation", "local_surfaces", "outliers", "quality", "thinning", *FOUNDATION},
    "methods": {
        *("views", "patches", "survey", "orientation", "outliers", "quality", "thinning", "losses", "fields", "rendering", "ops"),
        *("networks", "shape_set", *FITTING, *FOUNDATION),
    },
    "extract": {"fields", "ops", *FOUNDATION},
    "repair": FOUNDATION,
    "slivers": set(),
    "handles": {"slivers", "ops", *FOUNDATION},
    "sharpen": {"fields", "slivers", *FOUNDATION},
    "face_distance": {"geometry"},
    "metrics": {"face_distance", "pictures", "repair", *FOUNDATION},
    "pictures": FOUNDATION,
    "io": {"repair", "views", "conventions", "pose_check", "selection", *FOUNDATION},
    "settings": {"methods", *FOUNDATION},
    "reconstruction": {
        *("views", "stereo", "appearance", "rendering", "methods", "checkpoints", "fields", "extract", "repair", "handles", "sharpen"),
        *("thinning", "rigid_motion", "orientation", "outliers", "local_surfaces", *FOUNDATION),
    },
}
OPTIONAL = {"open3d", "pycolmap", "xatlas", "pye57", "networkx", "lxml", "tinycudann", "nerfacc", "viser"}
OPEN3D_HOMES = {"apps/viewer.py", "surfrecon/io"}
SERIALIZERS = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
CHECKPOINT_WRITERS = {"save", "save_file"}  # torch.save, safetensors.torch.save_file and their like


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name taken from it or "") of every import below a node, those inside functions too."""
    for item in ast.walk(node):
        if isinstance(item, ast.Import):
            yield from ((alias.name, "") for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            assert item.level == 0, f"line {item.lineno}: imports are absolute here"
            yield from ((item.module, alias.name) for alias in item.names)


def imports_on_load(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The same, of what runs when the module is loaded."""
    for item in ast.iter_child_nodes(node):
        if isinstance(item, (ast.Import, ast.ImportFrom)):
            yield from imports(item)
        elif not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports_on_load(item)


def ours(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of surfrecon, as paths into it: ("io",), ("methods", "gridpull") ..."""
    found = set()
    for module, taken in imports(tree(path)):
        first, *rest = module.split(".")
        if first == "surfrecon":
            found.add(tuple(rest) or (taken,))
    return found - {("",)}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[len(ROOT.parts)] == "surfrecon"], ids=name)
def test_imports_go_one_way(path):
    part, *inner = path.relative_to(ROOT / "surfrecon").with_suffix("").parts
    if part == "__init__":
        assert not {where for where in ours(path) if where[0] in OUTER}
        return
    assert part in ALLOWED, f"{name(path)} is new: say in ALLOWED what it may import"
    for where in ours(path):
        assert where[0] in ALLOWED[part] | {part}, f"{name(path)} imports surfrecon.{'.'.join(where)}"
        if part == "methods" and where[0] == "methods":
            own = inner[0].partition("_")[0]  # the parts of a method carry its name: gridpull_paper
            assert where[1:] == () or where[1].partition("_")[0] == own, f"one method imports another: surfrecon.{'.'.join(where)}"
        if part != "ops" and where[0] == "ops":
            assert where == ("ops",), f"{name(path)} reaches into a backend: surfrecon.{'.'.join(where)}"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[len(ROOT.parts)] in OUTER], ids=name)
def test_outer_folders_use_what_is_public(path):
    for module, taken in imports(tree(path)):
        inner = module.startswith("surfrecon") and not module.startswith("surfrecon.apps")
        assert not (inner and re.search(r"\._(?!_)", f"{module}.{taken}")), f"{name(path)} imports {module}.{taken}"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_optional_packages_are_imported_inside_functions(path):
    assert not OPTIONAL & {module.split(".")[0] for module, _ in imports_on_load(tree(path))}
    if "open3d" in {module.split(".")[0] for module, _ in imports(tree(path))}:
        assert any(name(path).startswith(home) for home in OPEN3D_HOMES), "open3d is for the viewer and for io"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_nothing_runs_code_from_files(path):
    assert not SERIALIZERS & {module.split(".")[0] for module, _ in imports(tree(path))}
    for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
        where = f"{name(path)}:{call.lineno}"
        spelt = ast.unparse(call.func)
        assert spelt not in ("eval", "exec", "yaml.load", "yaml.unsafe_load"), f"{where}: {spelt}()"
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            assert (keyword.arg, value) not in (("allow_pickle", True), ("weights_only", False)), f"{where}: {keyword.arg}={value}"
        if spelt == "torch.load":
            assert "weights_only" in {keyword.arg for keyword in call.keywords}, f"{where}: torch.load without weights_only=True"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_checkpoints_are_written_by_one_file_alone(path):
    if name(path) == "surfrecon/checkpoints.py":
        assert {where for where in ours(path) if where[0] == "io"} == {("io", "atomic"), ("io", "tensors")}
        return
    if name(path) == "surfrecon/io/tensors.py":  # weights and sets of shapes, by who is let to
        users = lambda taken: {name(other) for other in PACKAGE for module, what in imports(tree(other)) if what == taken}
        assert users("write_arrays") == {"surfrecon/shape_set.py", "surfrecon/networks/weights.py"}
        assert users("serialized") == {"surfrecon/checkpoints.py"}
        return
    for module, taken in imports(tree(path)):
        assert not (module.startswith("safetensors") and taken in CHECKPOINT_WRITERS)
    calls = [ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if re.fullmatch(r"(torch|safetensors(\.\w+)?)\.(save|save_file)", call)]


def test_no_file_names_a_folder_of_one_machine():
    own = re.compile(r"(?<![\w.:/*~-])/(?:work|home|root|opt|tmp|Users)/\w")
    text = {".py", ".md", ".toml", ".yml", ".in", ".cpp", ".h", ".html", ".css", ".js", ""}
    hidden = {".git", ".venv", "demo", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"}
    files = [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix in text and not any(p in hidden or p.endswith(".egg-info") for p in path.relative_to(ROOT).parts)
    ]
    assert ROOT / "Makefile" in files
    found = [f"{name(path)}: {line.strip()}" for path in files for line in path.read_text("utf-8").splitlines() if own.search(line)]
    assert not found


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    show = "; import sys; sys.stdout = sys.__stdout__; print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, timeout=120, check=False)
    assert "LOADED" in done.stdout, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_import_surfrecon_loads_no_viewer_and_no_gpu_code():
    assert not {"open3d", "triton", "tinycudann", "nerfacc", "viser", "trimesh"} & loaded_by("import surfrecon")


@pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"], ["evaluate", "--help"]], ids=" ".join)
def test_help_does_not_wait_for_torch(arguments):
    assert "torch" not in loaded_by(f"from surfrecon.apps.cli import main; assert main({arguments}) == 0")
