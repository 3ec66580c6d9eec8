"""Stanford's .conf: range scans in PLY files beside it, each with the pose that brings it into the common frame.

A line `bmesh FILE tx ty tz qx qy qz qw` places one: world = R^T p + t, R the rotation of the quaternion, which is the inverse of the usual
reading (with it the bunny's scans lie .3 mm from its mesh, the other way 25 mm). Other lines (a viewer's camera, meshes) are passed over.

The scanners of these files look along -z of their scan's frame, in parallel: the origin of a point is above it there, far away.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, Similarity, merge
from surfrecon.io import attributes, ply
from surfrecon.io.rotations import rotation

log = logging.getLogger("surfrecon")

SCAN = "bmesh"
LONGEST = 2**20  # bytes of the file
FAR = 10.0  # diagonals of its box from a scan to where it was seen from


def read_scan(path: Path) -> PointCloud:
    """The points of all scans in the common frame, with sensor origins and a field `scan`."""
    if path.stat().st_size > LONGEST:
        raise InputError(f"it is longer than {LONGEST} bytes, so it is no list of range scans")
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    scans = [words for words in lines if words and words[0] == SCAN]
    if not scans:
        raise InputError(f"it places no range scan: expected lines '{SCAN} FILE tx ty tz qx qy qz qw'")
    log.info("%s: %d range scans, seen along -z of their frames", path.name, len(scans))
    return merge([_placed(path, number, words[1:]) for number, words in enumerate(scans)])


def _placed(path: Path, number: int, words: list[str]) -> PointCloud:
    """One scan in the common frame."""
    try:
        name, pose = words[0], np.array([float(word) for word in words[1:]])
    except (IndexError, ValueError):
        name, pose = "", np.empty(0)
    if len(pose) != 7 or not np.isfinite(pose).all():
        raise InputError(f"its scan {number + 1} reads '{SCAN} {' '.join(words)[:120]}': expected FILE tx ty tz qx qy qz qw")
    file = path.parent / name
    if not file.resolve().is_relative_to(path.parent.resolve()) or file.suffix.lower() != ".ply":
        raise InputError(f"its scan {number + 1} is {name[:80]!r}: expected a PLY file in the same folder")
    if not file.is_file():
        raise InputError(f"its scan {name[:80]!r} is missing: expected it beside the file")
    try:
        local = ply.read_scan(file)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    x, y, z, w = pose[3:]
    local_from_world = rotation(np.array([w, x, y, z]), f"its scan {name[:80]!r}")
    above = np.array([0, 0, FAR * float(np.linalg.norm(np.ptp(local.bounds(), axis=0)))])
    scalars = {"scan": np.full(len(local), number, np.int32)} | dict(local.scalars)
    seen = attributes.scan(
        file, points=local.points, normals=local.normals, colors=local.colors, scalars=scalars, origins=local.points + above
    )
    return seen.transformed(Similarity(1.0, pose[:3], local_from_world.T))
