"""What a user installs: names, files and entry points; read from setup.py, since installed metadata may be older."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDERS = {"surfrecon": "surfrecon", "apps": "surfrecon/apps", "data_tools": "surfrecon/data_tools"}  # in the tree -> in the wheel
CONDA_NAMES = {"torch": "pytorch"}


def setup_argument(name: str):
    calls = (node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.Call))
    call = next(call for call in calls if ast.unparse(call.func) == "setup")
    return ast.literal_eval(next(keyword.value for keyword in call.keywords if keyword.arg == name))


def bare(requirement: str) -> str:
    """The package's name alone, as indexes compare it."""
    return re.split(r"[\s\[<>=!~;@]", requirement.strip())[0].lower().replace("_", "-")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    try:
        major = int(version("setuptools").split(".")[0])
        importlib.import_module("pip")
    except (PackageNotFoundError, ImportError) as error:
        pytest.skip(f"building a wheel needs pip and setuptools >= 77: {error}")
    if major < 77:
        pytest.skip(f"building a wheel needs setuptools >= 77, found {major}")
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "*.run")
    shutil.copytree(ROOT, folder / "tree", ignore=unwanted)  # building leaves files behind
    # Kernels that are compiled already aren't once more: that takes minutes, and .ci/run does it.
    place = folder / f"tree/build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}/surfrecon/ops/native"
    place.mkdir(parents=True)
    for library in (ROOT / "surfrecon/ops/native").glob("libsurfrecon-*"):
        shutil.copyfile(library, place / library.name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "tree")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_wheel_takes_one_global_name(wheel):
    info = f"surfrecon-{setup_argument('version')}.dist-info"
    assert {name.split("/")[0] for name in wheel.namelist()} == {"surfrecon", info}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_wheel_holds_the_weights_of_networks(wheel):
    shipped = {file.name for file in (ROOT / "surfrecon/networks/weights").iterdir()}
    assert {name.rpartition("/")[2] for name in wheel.namelist() if name.startswith("surfrecon/networks/weights/")} == shipped
    assert "objects.safetensors" in shipped


def test_wheel_and_sdist_take_what_a_report_shows_in_a_browser(wheel):
    assert {"surfrecon/apps/web/page.css", "surfrecon/apps/web/view.js", "surfrecon/apps/web/view.min.js"} <= set(wheel.namelist())
    assert "recursive-include apps *.css *.js *.json *.mjs" in (ROOT / "MANIFEST.in").read_text()


def test_wheel_holds_every_module_of_the_tree(wheel):
    modules = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    wanted = {re.sub(r"^\w+", lambda folder: FOLDERS[folder[0]], module) for module in modules}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == wanted


def test_wheel_fits_every_python_and_holds_the_kernels_that_were_compiled(wheel):
    assert "-py3-none-" in wheel.filename
    libraries = {Path(name).name for name in wheel.namelist() if name.startswith("surfrecon/ops/native/libsurfrecon-")}
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler here: the wheel holds no kernels")
    assert any(name.startswith("libsurfrecon-baseline.") for name in libraries)
    assert not [name for name in wheel.namelist() if name.endswith((".cpp", ".h"))]


def test_installation_goes_on_without_a_compiler(tmp_path):
    shutil.copytree(ROOT / "surfrecon/ops/native", tmp_path / "surfrecon/ops/native", ignore=shutil.ignore_patterns("*.so", "*.dylib"))
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("apps", "data_tools"):
        (tmp_path / folder).mkdir()
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    nothing = {"CC": "no-such-compiler", "CXX": "no-such-compiler"}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | nothing, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.rglob("libsurfrecon-*"))


def test_sdist_takes_the_kernels_sources():
    wanted = {path.suffix for path in (ROOT / "surfrecon/ops/native").iterdir()} & {".cpp", ".h"}
    assert wanted == {".cpp", ".h"} and "recursive-include surfrecon *.cpp *.h" in (ROOT / "MANIFEST.in").read_text()


def test_no_global_apps_is_importable(tmp_path):
    code = "import surfrecon.apps, surfrecon.data_tools, importlib.util as u; print(u.find_spec('apps'), u.find_spec('data_tools'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["None", "None"], done.stderr


@pytest.mark.parametrize("entry", setup_argument("entry_points")["console_scripts"])
def test_entry_point_leads_to_a_function(entry):
    module, _, function = entry.partition("=")[2].strip().partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_conda_environment_holds_every_requirement():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    listed = [item for entry in environment["dependencies"] for item in (entry["pip"] if isinstance(entry, dict) else [entry])]
    names = {bare(item) for item in listed}
    required = {bare(item) for item in setup_argument("install_requires") if "python_version" not in item}
    assert {CONDA_NAMES.get(name, name) for name in required} <= names
    assert "-e ." in listed and any(item.startswith("git+https://github.com/NVlabs/tiny-cuda-nn") for item in listed)


def test_torch_is_not_pinned_for_users():
    assert [item for item in setup_argument("install_requires") if bare(item) in ("torch", "torchvision")] == ["torch>=2.10"]


def test_readme_names_every_command():
    from surfrecon.apps.cli import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [command for command in COMMANDS if f"surfrecon {command}" not in text]
    assert not missing


def test_readme_names_every_format():
    from surfrecon.io import MESH_READERS, MESH_WRITERS, SCAN_READERS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scans, meshes = text[text.index("Points in:") :].split("Meshes out:")
    assert set(re.findall(r"\b[A-Z\d]{3,4}\b", scans)) == {suffix[1:].upper() for suffix in SCAN_READERS | MESH_READERS}
    assert set(re.findall(r"\b[A-Z\d]{3,4}\b", meshes.partition("\n\n")[0])) == {suffix[1:].upper() for suffix in MESH_WRITERS}
