"""surfrecon render: pictures of a mesh or a scan, without a display."""

from __future__ import annotations

import argparse

EXAMPLES = """
PROG mesh.ply -o mesh.png
PROG mesh.ply -o confidence.png --color confidence --views one
PROG scan.laz -o scan.png --size 1600x1200
"""
def add_options(parser: argparse.ArgumentParser) -> None:
    pass
