"""surfrecon evaluate: how far a mesh is from the truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from surfrecon.apps.options import whole

EXAMPLES = """
PROG mesh.ply --truth truth.ply
PROG mesh.ply --truth scan.laz --samples 1000000
PROG mesh.ply --truth truth.ply --protocol srb --json
"""
EXACT = "exact"
PROTOCOLS = (EXACT, "srb", "convonet", "points2surf")  # metrics knows them as well, but help doesn't wait for it
MAX_SAMPLES = 100_000_000


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, metavar="MESH")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE", help="a mesh, or points on the true surface")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=EXACT, help="exact distances, or as a paper measures (default: exact)")
    parser.add_argument("--samples", type=whole(1, MAX_SAMPLES), metavar="N", help="on each side (default: the protocol's own)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the samples (default: 0)")


def run(options: argparse.Namespace) -> None:
    from surfrecon import io, metrics
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.files import load

    mesh, truth = io.read_mesh(options.mesh), load(options.truth)
    counted = {"seed": options.seed} | ({"samples": options.samples} if options.samples else {})
    if options.protocol == EXACT:
        result = metrics.compare(mesh, truth, **counted).as_dict()
    else:
        result = metrics.PROTOCOLS[options.protocol](mesh, truth, **counted)
    if options.json:
        print_json({"mesh_file": str(options.mesh), "truth_file": str(options.truth), "protocol": options.protocol, **result})
    else:
        print_lines(_exact_lines(result) if options.protocol == EXACT else _lines(result))


def _exact_lines(result: dict[str, Any]) -> list[str]:
    """The comparison for a person, in the unit of the files."""
    diagonal = result["diagonal"]
    length = lambda value: f"{value:.4g} ({value / diagonal:.3%} of the diagonal)" if diagonal else f"{value:.4g}"
    spread = lambda way: f"mean {way['mean']:.4g}, median {way['median']:.4g}, max {way['max']:.4g}"
    floor = f"; sampling alone makes {result['sampling_floor']:.3g}" if result["sampling_floor"] else ""
    shares = ", ".join(f"{value:.4f} at {float(threshold):.4g}" for threshold, value in result["f_score"].items())
    shape = result["mesh"]
    state = f"solid, genus {shape['genus']}" if shape["solid"] else "NOT solid"
    rows = {
        "distance": length(result["distance"]) + floor,
        "mesh to truth": spread(result["to_truth"]),
        "truth to mesh": spread(result["to_mesh"]),
        "Hausdorff": length(result["hausdorff"]),
        "F-score": shares,
        "normals": None if result["normals"] is None else f"{result['normals']:.4f}, with their sign {result['signed_normals']:.4f}",
        "IoU": None if result["iou"] is None else f"{result['iou']:.4f}, volume {result['volume_ratio']:.4f} of the truth's",
        "mesh": f"{state}, pieces {shape['components']:,}",
    }
    return [f"{name:13}  {value}" for name, value in rows.items() if value is not None]


def _lines(result: dict[str, Any], prefix: str = "") -> list[str]:
    """Figures of a protocol under its own names."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{name} ")
        else:
            lines.append(f"{prefix + name:20}  {'not defined here' if value is None else f'{value:.6g}'}")
    return lines
