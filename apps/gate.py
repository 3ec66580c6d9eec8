"""The final gate of a mesh: its file, read back, before it takes its place."""

from __future__ import annotations

import logging
from pathlib import Path

from surfrecon.errors import SurfreconError

log = logging.getLogger("surfrecon")

EXACT_SUFFIXES = (".ply", ".glb")
MIN_FACES_FOR_SECOND_OPINION = 100  # manifold3d collapses what is tiny


def check_mesh_file(file: Path, shown: Path) -> None:
    """The final gate: the file itself, read back, bounds a body once vertices at one place are taken as one.

    Another library looks as well, where memory suffices for that.

    Args:
        file: what was written.
        shown: its name in the error.
    Raises:
        SurfreconError: it doesn't.
    """
    import numpy as np

    from surfrecon import headroom
    from surfrecon.geometry import Mesh
    from surfrecon.io import read_mesh
    from surfrecon.repair import inspect

    stored = read_mesh(file)
    vertices, vertex = np.unique(stored.vertices, axis=0, return_inverse=True)
    mesh = Mesh(vertices, vertex.reshape(-1)[stored.faces])
    report = inspect(mesh)
    reason = None
    if not report.solid:
        reason = (
            f"{report.boundary_edges} open edges, {report.nonmanifold_edges} non-manifold edges, {report.nonmanifold_vertices} "
            f"non-manifold vertices, {report.inconsistent_edges} inconsistent edges, volume {report.volume:.3g}"
        )
    elif not headroom.suffices(headroom.MANIFOLD3D_BYTES * report.faces):
        log.debug("no second opinion on %s: memory is short", shown)
    elif report.faces >= MIN_FACES_FOR_SECOND_OPINION:
        import manifold3d

        low, high = mesh.bounds()
        local = ((vertices - low) / (high - low).max()).astype(np.float32)  # manifold3d computes in float32
        status = manifold3d.Manifold(manifold3d.Mesh(local, mesh.faces.astype(np.uint32))).status()
        reason = None if status == manifold3d.Error.NoError else f"manifold3d says {status.name}"
    if reason:
        advice = "" if shown.suffix.lower() in EXACT_SUFFIXES else "; .ply and .glb keep coordinates best"
        raise SurfreconError(f"{shown} isn't solid when read back ({reason}), so it was not kept{advice}")
