"""KITTI's .bin: one turn of a laser scanner on a car, x, y, z in metres and intensity as float32, nothing else.

A file without header could be anything, so its values must look like such a scan. The scanner is the origin of its frame.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import attributes

log = logging.getLogger("surfrecon")

POINT = 16  # bytes
FARTHEST = 1e4  # metres: no scanner on a car or aircraft sees farther
BRIGHTEST = 65535.0  # KITTI's intensities end at 1, others' at 255 or here
STRAY = 0.001  # share of points that may be none: real files have a few


def read_scan(path: Path) -> PointCloud:
    """The points with `intensity`, each seen from the origin."""
    size = path.stat().st_size
    if size == 0 or size % POINT:
        raise InputError(f"it has {size} bytes: expected {POINT} for each point (x, y, z, intensity as float32), as KITTI's files have")
    table = np.fromfile(path, "<f4").reshape(-1, 4)
    points, intensity = table[:, :3].astype(float), table[:, 3]
    far = ~(np.abs(points) <= FARTHEST).all(axis=1)
    odd = far | ~((intensity >= 0) & (intensity <= BRIGHTEST))
    if odd.sum() > STRAY * len(table) or not (np.ptp(points[~odd], axis=0) > 0).any():
        raise InputError(
            f"{odd.sum()} of its {len(table)} points, read as x, y, z and intensity in float32, lie farther than {FARTHEST:g} or are no "
            f"intensity from 0 to {BRIGHTEST:g}, or all are at one place: it is no KITTI scan"
        )
    if odd.any():
        log.warning("%s: left out %d of %d points that are no measurements", path.name, odd.sum(), len(table))
    log.info("%s: read as KITTI's x, y, z, intensity, the scanner at the origin", path.name)
    points = points[~odd]
    return attributes.scan(path, points=points, scalars={"intensity": intensity[~odd]}, origins=np.zeros_like(points), unit="m")
