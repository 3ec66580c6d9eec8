"""What Blender makes of exported meshes: counts, bounds and a colour, read in Blender itself.

    python benchmarks/blender_check.py          # writes a coloured ellipsoid in each format, then has Blender open the files

Blender runs this same file (blender -b --python ... -- FOLDER) for the second half. Not part of the tests: Blender is a large package.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = 2562, 5120
HALF_AXES, CENTRE = (1.0, 2.0, 3.0), (0.5, -1.0, 4.0)
BOUNDS = [[c - a for c, a in zip(CENTRE, HALF_AXES)], [c + a for c, a in zip(CENTRE, HALF_AXES)]]
COLOR = 0.8, 0.4, 0.1  # sRGB
FORMATS = (".ply", ".obj", ".stl", ".glb")
TOLERANCE = 1e-4


def write(folder: Path) -> None:
    import numpy as np
    import trimesh

    from surfrecon.geometry import Mesh
    from surfrecon.io import write_mesh

    made = trimesh.creation.icosphere(4)
    mesh = Mesh(made.vertices * HALF_AXES + CENTRE, made.faces, colors=np.tile(COLOR, (len(made.vertices), 1)))
    for suffix in FORMATS:
        write_mesh(mesh, folder / f"mesh{suffix}")


def opened(file: Path) -> dict:
    """Counts, bounds and linear colour of a file, by Blender's own importers."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    if file.suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=str(file))
    elif file.suffix == ".obj":
        bpy.ops.wm.obj_import(filepath=str(file), forward_axis="Y", up_axis="Z")  # Blender takes OBJ for Y-up unless told
    elif file.suffix == ".ply":
        (bpy.ops.wm.ply_import if hasattr(bpy.types, "WM_OT_ply_import") else bpy.ops.import_mesh.ply)(filepath=str(file))
    else:
        (bpy.ops.wm.stl_import if hasattr(bpy.types, "WM_OT_stl_import") else bpy.ops.import_mesh.stl)(filepath=str(file))
    item = next(item for item in bpy.data.objects if item.type == "MESH")
    places = [item.matrix_world @ vertex.co for vertex in item.data.vertices]
    colors = item.data.color_attributes
    return {
        "counts": [len(item.data.vertices), len(item.data.polygons)],
        "bounds": [[end(place[axis] for place in places) for axis in range(3)] for end in (min, max)],
        "color": list(colors[0].data[0].color)[:3] if len(colors) else None,
        "color_kind": colors[0].data_type if len(colors) else None,
    }


def linear(value: float) -> float:
    return ((value + 0.055) / 1.055) ** 2.4


def judged(suffix: str, found: dict) -> list[str]:
    """What is wrong with what Blender found."""
    wrong = []
    if tuple(found["counts"]) != COUNTS:
        wrong.append(f"{found['counts']} vertices and faces, not {COUNTS}")
    if max(abs(a - b) for ends in zip(found["bounds"], BOUNDS) for a, b in zip(*ends)) > TOLERANCE:
        wrong.append(f"bounds {found['bounds']}, not {BOUNDS}")
    if suffix != ".stl":
        if found["color"] is None:
            wrong.append("no colours")
        elif max(abs(a - linear(b)) for a, b in zip(found["color"], COLOR)) > 0.01:
            wrong.append(f"linear colour {found['color']}, not {[linear(value) for value in COLOR]}")
    return wrong


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        subprocess.run(["blender", "-b", "--factory-startup", "--python", __file__, "--", folder], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(Path(folder, "found.json").read_text())
    wrong = {suffix: judged(suffix, found[suffix]) for suffix in FORMATS}
    for suffix in FORMATS:
        print(f"{suffix}: {'; '.join(wrong[suffix]) or 'as written'} {found[suffix]}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    if "--" in sys.argv:
        where = Path(sys.argv[-1])
        (where / "found.json").write_text(json.dumps({suffix: opened(where / f"mesh{suffix}") for suffix in FORMATS}))
    else:
        sys.exit(main())
