"""surfrecon evaluate: how far a mesh is from the truth."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

EXAMPLES = """
PROG mesh.ply --truth truth.ply
PROG mesh.ply --truth truth.ply --protocol srb --json
"""
PROTOCOLS = ("exact", "srb", "convonet", "points2surf")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, metavar="MESH")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE", help="a mesh, or points on the true surface")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="exact", help="how it is measured (default: exact)")


def run(options: argparse.Namespace) -> None:
    from surfrecon import io, metrics
    from surfrecon.apps.console import print_json
    from surfrecon.apps.files import load

    mesh, truth = io.read_mesh(options.mesh), load(options.truth)
    if options.protocol == "exact":
        result = asdict(metrics.compare(mesh, truth))
    else:
        result = metrics.PROTOCOLS[options.protocol](mesh, truth)
    if options.json:
        print_json(result)
    else:
        print("\n".join(f"{name:20} {value}" for name, value in result.items()))
