"""surfrecon evaluate: how far a mesh is from the truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """
PROG mesh.ply --truth truth.ply
PROG mesh.ply --truth scan.ply --samples 200000
PROG mesh.ply --truth truth.ply --protocol srb --json
"""
PROTOCOLS = ("exact", "srb", "convonet", "points2surf")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, metavar="MESH")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE", help="a mesh, or points on the true surface")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="exact", help="how it is measured (default: exact)")


def run(options: argparse.Namespace) -> None:
    pass
