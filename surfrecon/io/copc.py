"""COPC: LAZ files whose chunks are the nodes of an octree, so that some can be left out where a part or a thinned cloud is wanted.

Only the octree's list of chunks is used, as a hint which of those in the LAZ table to skip; a file without it, or with one that can't be
right, is read whole. Level 0 holds some points of all the cloud, each deeper level others, twice as dense along a side.

Source: the COPC 1.0 specification, copc.io.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from surfrecon.selection import Selection

INFO = struct.Struct("<5d2Q2d")  # centre (3), half the root's side, spacing of level 0; place and length of the root page; times
INFO_PLACE = 375 + 54  # bytes: behind the header of LAS 1.4 and that of the first record
USER, USER_PLACE = b"copc", 377
ENTRY = np.dtype([("level", "<i4"), ("x", "<i4"), ("y", "<i4"), ("z", "<i4"), ("offset", "<u8"), ("size", "<i4"), ("points", "<i4")])
ELSEWHERE = -1  # in place of the number of points: the entries of a node are on a page of their own
MOST_PAGES, LONGEST_PAGE = 100_000, 2**26  # pages, bytes
PER_VOXEL = 2.0  # times as fine as the voxels is what is read, so that their means have some points each


def unwanted(file: BinaryIO, size: int, selection: Selection) -> set[int]:
    """Bytes of the file where chunks begin that hold nothing of the crop, or only points between those that voxels need."""
    if selection.crop is None and selection.voxel is None:
        return set()
    file.seek(0)
    head = file.read(INFO_PLACE + INFO.size)
    if head[USER_PLACE : USER_PLACE + len(USER) + 1] != USER + b"\0" or len(head) < INFO_PLACE + INFO.size:
        return set()
    *centre, half, spacing, place, length, _, _ = INFO.unpack_from(head, INFO_PLACE)
    entries = _entries(file, size, place, length)
    numbers = (*centre, half, spacing)
    if entries is None or not np.isfinite(numbers).all() or half <= 0 or spacing <= 0:
        return set()
    side = 2 * half / 2.0 ** entries["level"]
    low = np.array(centre) - half + np.column_stack([entries[axis] for axis in "xyz"]) * side[:, None]
    skipped = np.zeros(len(entries), bool)
    if selection.crop is not None:
        skipped |= ((low > selection.crop[1]) | (low + side[:, None] < selection.crop[0])).any(axis=1)
    if selection.voxel is not None:
        coarser = spacing / 2.0 ** (entries["level"] - 1) * PER_VOXEL  # of the level above
        skipped |= (entries["level"] > 0) & (coarser <= selection.voxel)
    return set(entries["offset"][skipped].tolist())


def _entries(file: BinaryIO, size: int, place: int, length: int) -> np.ndarray | None:
    """The nodes that hold points; None where a page lies outside of the file, is read twice, or names what can't be."""
    waiting, seen, found = [(place, length)], set(), []
    while waiting:
        place, length = waiting.pop()
        if place in seen or len(seen) > MOST_PAGES or not 0 < length <= LONGEST_PAGE or place + length > size:
            return None
        seen.add(place)
        file.seek(place)
        page = np.frombuffer(file.read(length // ENTRY.itemsize * ENTRY.itemsize), ENTRY)
        if ((page["level"] < 0) | (page["level"] > 30) | (page["points"] < ELSEWHERE)).any():
            return None
        waiting += [(int(entry["offset"]), int(entry["size"])) for entry in page[page["points"] == ELSEWHERE]]
        found.append(page[page["points"] > 0])
    return np.concatenate(found)
