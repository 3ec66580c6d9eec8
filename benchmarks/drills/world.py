"""A scan in UTM, 5,800 km from the origin: every format of mesh keeps places to a millimetre, all vertices, and the text of the system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from drills.child import SMALL, Row, ran, row, unsound
from drills.hostile import ball
from surfrecon.geometry import PointCloud
from surfrecon.io import MESH_WRITERS, read_mesh, write_scan

OFFSET = np.array([8e5, 5.8e6, 100.0])
CRS = 'PROJCS["ETRS89 / UTM zone 32N",AUTHORITY["EPSG","25832"]]'
TOLERANCE = 1e-3  # metres
RADIUS = 20.0  # metres


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    scans = {"utm": folder / "utm.ply", "local": folder / "local.ply"}
    write_scan(PointCloud(RADIUS * ball(2000) + OFFSET, crs=CRS), scans["utm"])
    write_scan(PointCloud(RADIUS * ball(2000)), scans["local"])
    ran(scans["local"], "-o", folder / "local_mesh.ply", *SMALL)
    local = read_mesh(folder / "local_mesh.ply").vertices
    reference = None
    for suffix in list(MESH_WRITERS)[: 2 if quick else None]:
        out = folder / suffix[1:] / f"mesh{suffix}"
        out.parent.mkdir()
        ended = ran(scans["utm"], "-o", out, *SMALL, "--json")
        wanted, wrong, found = "1 mm, every vertex, the CRS", ended.unlike(0) or unsound(out), ""
        if not wrong:
            mesh = read_mesh(out)
            vertices = mesh.vertices - OFFSET
            reference = vertices if reference is None else reference
            same = mesh.vertices.shape == reference.shape and suffix != ".stl"  # whose vertices are numbered by their corners
            worst = np.abs(vertices - reference).max() if same else cKDTree(reference).query(vertices)[0].max()
            report = json.loads(ended.out)
            kept = mesh.crs == CRS
            told = any("no place for" in line and "coordinate reference system" in line for line in report["warnings"])
            beside = [file for file in out.parent.glob(f"{out.name}.*.json") if json.loads(file.read_text()).get("crs") == CRS]
            where = "the CRS" if kept else f"the CRS in {beside[0].name}" if beside else "a warning that it has no place for the CRS"
            found = f"{1000 * worst:.6f} mm, {len(vertices):,} of {report['topology']['vertices']:,} vertices, {where}"
            if worst > TOLERANCE or len(vertices) != report["topology"]["vertices"] or not (kept or beside or told):
                wrong = found
        yield row(f"mesh{suffix}", wanted, wrong, ended, found)
    worst = cKDTree(local).query(reference)[0].max()
    found = f"{1000 * worst:.4f} mm, {len(reference):,} of {len(local):,} vertices"
    well = worst <= TOLERANCE and len(reference) == len(local)
    yield Row("in UTM and at the origin", "the same mesh to 1 mm", found, well)
