"""Sets of shapes to learn from: points on surfaces and what is inside, in shards that are read as they lie on the disk.

A set is a folder: set.json (format, families, counts, how it was made) and shards 00000.safetensors ... of the same arrays, a row a shape:
    points  (S, N, 3) float16  spread evenly over the surface
    normals (S, N, 3) int8     outwards, times 127
    eyes    (S, VIEWS, 3) float16  from where a scanner might have looked
    seen    (S, N) uint16      bit k: the point is seen from eye k
    places  (S, Q, 3) float16  the first half of them anywhere in the box, the others near the surface
    inside  (S, Q / 8) uint8   packed bits: which places are inside
    family  (S,) uint8         its number in the set's list
Lengths are in the shape's longest side, from the middle of its box; places fill the cube of side 2 HALF around it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from surfrecon.errors import InputError
from surfrecon.io.atomic import replacing
from surfrecon.io.tensors import mapped_arrays, write_arrays

FORMAT = 2
HALF = 0.6  # side of the cube that is learnt about, halved: what a scan of one side lacks must have room
VIEWS = 14  # eyes of a shape, and bits of `seen`
UNIT = 127  # length of a normal as it is kept
SHARD = 64  # shapes
ABOUT = "set.json"
OF_A_SHAPE = ("points", "normals", "eyes", "seen", "places", "inside")
ARRAYS = {*OF_A_SHAPE, "family"}


class Record(NamedTuple):
    """One shape; see the arrays above, unpacked and without their first axis.

    Attributes:
        points: (N, 3) float16.
        normals: (N, 3) int8.
        eyes: (VIEWS, 3) float16.
        seen: (N,) uint16.
        places: (Q, 3) float16.
        inside: (Q,) bool.
        family: number.
    """

    points: np.ndarray
    normals: np.ndarray
    eyes: np.ndarray
    seen: np.ndarray
    places: np.ndarray
    inside: np.ndarray
    family: int


def write_shapes(folder: Path, records: Iterable[Record], families: Sequence[str], **facts: Any) -> int:
    """Write a set, shard by shard as its shapes come; how many they were.

    Args:
        folder: made if need be; it must hold no set.
        facts: for set.json, as JSON knows them: what it was made of and how.
    Raises:
        InputError: the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} isn't empty; name another folder for the set of shapes")
    waiting: list[Record] = []
    shards = total = 0

    def flush() -> None:
        nonlocal shards, waiting
        rows = {name: np.stack([getattr(record, name) for record in waiting]) for name in OF_A_SHAPE}
        rows["inside"] = np.packbits(rows["inside"], axis=1)
        rows["family"] = np.array([record.family for record in waiting], np.uint8)
        folder.mkdir(parents=True, exist_ok=True)  # not before there is something to write
        write_arrays(folder / f"{shards:05d}.safetensors", rows)
        shards, waiting = shards + 1, []

    for record in records:
        waiting.append(record)
        total += 1
        if len(waiting) == SHARD:
            flush()
    if waiting:
        flush()
    about = {"format": FORMAT, "shapes": total, "shards": shards, "families": list(families), **facts}
    with replacing(folder / ABOUT) as file:
        file.write(json.dumps(about, indent=2).encode())
    return total


@dataclass(frozen=True)
class ShapeSet:
    """Sets that lie on the disk, taken as one.

    Attributes:
        about: what each set.json says.
        families: of all sets.
        rows: (shard, row in it, number of the family) of each shape.
        shards: arrays of each shard, mapped from its file.
    """

    about: Sequence[Mapping[str, Any]]
    families: Sequence[str]
    rows: Sequence[tuple[int, int, int]]
    shards: Sequence[Mapping[str, np.ndarray]]

    @classmethod
    def read(cls, *folders: Path) -> ShapeSet:
        """Raises: InputError: a folder holds no set, or one of another format or size, or that lacks a shard."""
        about, families, rows, shards = [], [], [], []
        for folder in folders:
            about.append(_about(folder))
            own = about[-1]["families"]
            families += [family for family in own if family not in families]
            before = len(rows)
            for number in range(about[-1]["shards"]):
                shard, _ = mapped_arrays(folder / f"{number:05d}.safetensors")
                if not ARRAYS <= shard.keys():
                    raise InputError(f"{folder} lacks {', '.join(sorted(ARRAYS - shard.keys()))} in shard {number}; make the set again")
                rows += [(len(shards), row, families.index(own[family])) for row, family in enumerate(shard["family"])]
                shards.append(shard)
            if len(rows) - before != about[-1]["shapes"] or len(rows) == before:
                raise InputError(f"{folder} doesn't hold the {about[-1]['shapes']} shapes that its {ABOUT} tells of; make the set again")
        return cls(about, families, rows, shards)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Record:
        place, row, family = self.rows[number]
        shard = self.shards[place]
        parts = {name: shard[name][row] for name in OF_A_SHAPE}
        parts["inside"] = np.unpackbits(parts["inside"], count=shard["places"].shape[1]).astype(bool)
        return Record(**parts, family=family)


def _about(folder: Path) -> dict[str, Any]:
    """What a folder's set.json says."""
    file = folder / ABOUT
    try:
        about = json.loads(file.read_bytes())
        if about["format"] != FORMAT:
            raise InputError(f"{file} is of format {about['format']}, this surfrecon reads {FORMAT}; make the set again")
        return about | {"shapes": int(about["shapes"]), "shards": int(about["shards"]), "families": list(map(str, about["families"]))}
    except OSError as error:
        how = "make one with python -m surfrecon.data_tools.make_shapes"
        raise InputError(f"{folder} holds no set of shapes ({error.strerror}: {ABOUT}); {how}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__}: {error}); make the set again") from None
