"""From a scan, or photographs, to a watertight mesh in their own frame: the public names, each loaded when it is first used.

    import surfrecon

    result = surfrecon.reconstruct(surfrecon.read_scan("scan.ply"))
    surfrecon.write_mesh(result.mesh, "mesh.ply")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surfrecon.errors import InputError, MissingDependencyError, ResourceError, SurfreconError
    from surfrecon.extract import marching_cubes
    from surfrecon.geometry import Mesh, PointCloud, Similarity, TexturedMesh, merge
    from surfrecon.io import read_mesh, read_scan, read_scans, read_views, write_mesh, write_scan, write_textured
    from surfrecon.io.exchange import from_open3d, from_trimesh, to_open3d, to_trimesh
    from surfrecon.metrics import compare
    from surfrecon.reconstruction import Reconstruction, estimate, reconstruct
    from surfrecon.repair import inspect
    from surfrecon.run import Run, Step, Stop
    from surfrecon.selection import Selection

__all__ = [
    "InputError",
    "Mesh",
    "MissingDependencyError",
    "PointCloud",
    "Reconstruction",
    "ResourceError",
    "Run",
    "Selection",
    "Similarity",
    "Step",
    "Stop",
    "SurfreconError",
    "TexturedMesh",
    "compare",
    "estimate",
    "from_open3d",
    "from_trimesh",
    "inspect",
    "marching_cubes",
    "merge",
    "read_mesh",
    "read_scan",
    "read_scans",
    "read_views",
    "reconstruct",
    "to_open3d",
    "to_trimesh",
    "write_mesh",
    "write_scan",
    "write_textured",
]

_HOMES = {
    "errors": ("InputError", "MissingDependencyError", "ResourceError", "SurfreconError"),
    "extract": ("marching_cubes",),
    "geometry": ("Mesh", "PointCloud", "Similarity", "TexturedMesh", "merge"),
    "io": ("read_mesh", "read_scan", "read_scans", "read_views", "write_mesh", "write_scan", "write_textured"),
    "io.exchange": ("from_open3d", "from_trimesh", "to_open3d", "to_trimesh"),
    "metrics": ("compare",),
    "reconstruction": ("Reconstruction", "estimate", "reconstruct"),
    "repair": ("inspect",),
    "run": ("Run", "Step", "Stop"),
    "selection": ("Selection",),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'surfrecon' has no attribute {name!r}; public names are {', '.join(__all__)}")
    return getattr(import_module(f"surfrecon.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
