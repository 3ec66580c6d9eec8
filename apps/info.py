"""surfrecon info: what a file holds, and what reconstructing it would take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps import points
from surfrecon.apps.units import units_of
from surfrecon.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from surfrecon.geometry import Mesh, PointCloud

EXAMPLES = """
PROG scan.ply
PROG scan.laz --json
PROG town.laz --class 2 --voxel 0.5
PROG mesh.ply
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a scan or a mesh; or a folder of depth maps")
    points.add_options(parser)


def run(options: argparse.Namespace) -> None:
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.files import load
    from surfrecon.geometry import PointCloud

    item = points.read([options.file], options) if points.asked(options) or options.file.is_dir() else load(options.file)
    files = [file for file in options.file.rglob("*") if file.is_file()] if options.file.is_dir() else [options.file]
    facts: dict[str, Any] = {"file": str(options.file), "bytes": sum(file.stat().st_size for file in files)}
    if isinstance(item, PointCloud):
        facts |= scan_facts(item)
        try:
            facts |= {"estimates": estimates(item), "problem": None}
        except InputError as error:  # a scan of one point is no surface, but its facts may be asked for
            facts |= {"estimates": [], "problem": str(error)}
    else:
        facts |= mesh_facts(item)
    if options.json:
        print_json(facts)
    else:
        print_lines(_lines(facts))


def scan_facts(scan: PointCloud) -> dict[str, Any]:
    """What a scan holds, for `info` and for the report of a run."""
    return {
        "kind": "scan",
        "points": len(scan),
        **_common(scan, scan.points),
        "spacing": scan.spacing() if len(scan) > 1 else None,
        "duplicates": len(scan) - len(scan.distinct()),
        "origins": scan.origins is not None,
    }


def mesh_facts(mesh: Mesh) -> dict[str, Any]:
    """What a mesh holds, its topology included."""
    from surfrecon.repair import inspect

    return {"kind": "mesh", **_common(mesh, mesh.vertices), **inspect(mesh).as_dict()}


def estimates(scan: PointCloud) -> list[dict[str, Any]]:
    """Method, preset, resolution, seconds and bytes that a reconstruction with each preset would take."""
    from surfrecon.methods import methods_for
    from surfrecon.reconstruction import estimate
    from surfrecon.settings import presets, resolve

    rows = []
    for method in methods_for(scan):
        for preset in presets(method):
            figures = estimate(scan, resolve(method, preset=preset))
            rows.append(
                {"method": method, "preset": preset}
                | {"resolution": figures.resolution, "seconds": figures.seconds, "bytes": figures.bytes}
            )
    return rows


def _common(item: PointCloud | Mesh, positions: np.ndarray) -> dict[str, Any]:
    bounds = item.bounds() if len(positions) else None
    return {
        "bounds": bounds,
        "extent": None if bounds is None else bounds[1] - bounds[0],
        "units": item.unit or units_of(item.crs),
        "crs": item.crs,
        "normals": item.normals is not None,
        "colors": item.colors is not None,
        "scalars": sorted(item.scalars),
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    from surfrecon.apps.console import size_text, time_text

    yes = lambda flag: "yes" if flag else "no"
    triple = lambda values: " ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in values)
    rows = [("file", f"{facts['file']} ({size_text(facts['bytes'])})")]
    if facts["kind"] == "scan":
        rows.append(("points", f"{facts['points']:,}, {facts['duplicates']:,} of them at the place of another"))
    else:
        solid = "solid" if facts["solid"] else "not solid"
        state = f"closed {yes(facts['closed'])}, manifold {yes(facts['manifold'])}, pieces {facts['components']:,}"
        rows.append(("mesh", f"{facts['vertices']:,} vertices, {facts['faces']:,} faces: {solid} ({state})"))
    if facts["bounds"] is not None:
        rows += [("from", triple(facts["bounds"][0])), ("to", triple(facts["bounds"][1])), ("extent", triple(facts["extent"]))]
    rows += [("units", facts["units"]), ("CRS", facts["crs"] or "none")]
    if facts.get("spacing") is not None:
        rows.append(("spacing", f"{facts['spacing']:.4g}"))
    rows += [("normals", yes(facts["normals"])), ("colours", yes(facts["colors"])), ("scalars", ", ".join(facts["scalars"]) or "none")]
    if facts["kind"] == "scan":
        rows.append(("origins", yes(facts["origins"])))
    else:
        rows += [("area", f"{facts['area']:.6g}"), ("volume", f"{facts['volume']:.6g}" if facts["closed"] else "none, it is open")]
    for row in facts.get("estimates", []):
        cost = f"about {time_text(row['seconds'])}, {size_text(row['bytes'])} of memory, resolution {row['resolution']}"
        rows.append((f"{row['method']} {row['preset']}", cost))
    if facts.get("problem"):
        rows.append(("problem", facts["problem"]))
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {value}" for name, value in rows]
