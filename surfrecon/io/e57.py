"""E57 (ASTM E2807), the exchange format of terrestrial laser scanners, in only: the points by pye57, which is an optional package.

A file is cut into pages, each with its checksum; an XML part says which scans there are and how their points are stored. That part is read
here and held against the file's size before native code sees the file, and the native code works in a process of its own (e57_points.py),
with little memory and limited time: whatever a damaged file does to it, it ends in one sentence.

Each scan has a pose: world = R p + t. The scanner stands at the origin of its scan's frame where that is known: scans in rows and columns
or in spherical coordinates have one, and those whose pose turns them. Others may be several scans in one, of which nothing is known.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from surfrecon.errors import InputError, MissingDependencyError
from surfrecon.geometry import PointCloud, merge
from surfrecon.io import attributes
from surfrecon.io.e57_process import decoded
from surfrecon.io.rotations import rotation

log = logging.getLogger("surfrecon")

HEADER = struct.Struct("<8sIIQQQQ")  # signature, version (2), length of the file, place and length of the XML part, length of a page
PAGE, CHECKSUM = 1024, 4  # bytes; the only page length there is
LONGEST_XML = 2**26  # bytes
MOST_SCANS = 10_000
SPACE = "{http://www.astm.org/COMMIT/E57/2010-e57-v1.0}"
CARTESIAN, SPHERICAL = ("cartesianX", "cartesianY", "cartesianZ"), ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
COLORS = ("colorRed", "colorGreen", "colorBlue")
NORMALS = ("nor:normalX", "nor:normalY", "nor:normalZ")  # of an extension that many writers know
INVALID = ("cartesianInvalidState", "sphericalInvalidState")
SCALARS = {"intensity": "intensity", "timeStamp": "time"}  # in the file -> here


@dataclass(frozen=True)
class Scan:
    """What the XML part says of one scan.

    Attributes:
        points: how many it promises.
        fields: what is read of each point, by the names of the format.
        rotation, translation: world_from_scan, (3, 3) and (3,).
        placed: whether the scanner is known to stand at the origin of the scan's frame.
        brightest: the colour value that stands for 1, or None.
    """

    number: int
    points: int
    fields: tuple[str, ...]
    rotation: np.ndarray
    translation: np.ndarray
    placed: bool
    brightest: float | None


def read_scan(path: Path) -> PointCloud:
    """The points of all scans in the file's frame, with sensor origins, colours, normals and intensities; several get a field `scan`."""
    if importlib.util.find_spec("pye57") is None:
        raise MissingDependencyError("reading E57 needs pye57, which isn't installed: pip install surfrecon[e57]")
    size = path.stat().st_size
    with open(path, "rb") as file:
        root = _document(file, size)
    scans, crs = _scans(root, size), (root.findtext(f"{SPACE}coordinateMetadata") or "").strip() or None
    clouds = []
    for scan, columns in zip(scans, decoded(path, [(scan.number, scan.points, scan.fields) for scan in scans])):
        cloud = _cloud(path, scan, columns, several=len(scans) > 1)
        if cloud is not None:
            clouds.append(cloud)
    if not clouds:
        raise InputError(f"none of its {len(scans)} scans holds a valid point")
    merged = merge(clouds)
    if merged.origins is None and any(cloud.origins is not None for cloud in clouds):
        log.info("%s: some of its scans don't say where the scanner stood, so no origins are kept", path.name)
    parts = {name: getattr(merged, name) for name in ("points", "normals", "colors", "scalars", "origins")}
    return attributes.scan(path, **parts, crs=crs, unit="m")  # as the format has it


def _document(file: BinaryIO, size: int) -> ET.Element:
    """The XML part, free of the pages' checksums."""
    head = file.read(HEADER.size)
    if head[:8] != b"ASTM-E57":
        raise InputError("it does not begin with 'ASTM-E57', so it is no E57 file")
    if len(head) < HEADER.size:
        raise InputError("the file ends within its header: it was cut short")
    _, major, _, length, place, xml, page = HEADER.unpack(head)
    if major != 1 or page != PAGE:
        raise InputError(f"it is of version {major} with pages of {page} bytes: expected version 1 and {PAGE}")
    if length != size or size % PAGE:
        raise InputError(f"its header promises {length} bytes in pages of {PAGE}, but the file has {size}: it was cut short")
    if place % PAGE >= PAGE - CHECKSUM or not HEADER.size <= place < size or not 0 < xml <= min(LONGEST_XML, size - place):
        raise InputError(f"its header puts {xml} bytes of XML at byte {place} of {size}: it is damaged")
    first = place // PAGE
    file.seek(first * PAGE)
    count = min((place % PAGE + xml) // (PAGE - CHECKSUM) + 1, size // PAGE - first)
    pages = np.frombuffer(file.read(count * PAGE), np.uint8).reshape(count, PAGE)
    text = pages[:, : PAGE - CHECKSUM].tobytes()[place % PAGE :][:xml]
    if len(text) < xml or b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # entities may be nested to fill the memory
        raise InputError("its XML part reaches beyond the file or defines entities: it is damaged")
    try:
        return ET.fromstring(text.rstrip(b"\0 \r\n"))
    except ET.ParseError as error:
        raise InputError(f"its XML part is damaged ({error})") from None


def _scans(root: ET.Element, size: int) -> list[Scan]:
    """The scans that hold points, refused where they promise more than the file has bits for."""
    children = root.findall(f"{SPACE}data3D/{SPACE}vectorChild")
    if len(children) > MOST_SCANS:
        raise InputError(f"it holds {len(children)} scans: more than {MOST_SCANS} are not read")
    scans = [_scan(number, child, size) for number, child in enumerate(children)]
    scans = [scan for scan in scans if scan.points]
    if not scans:
        raise InputError("it holds no points")
    return scans


def _scan(number: int, child: ET.Element, size: int) -> Scan:
    points = child.find(f"{SPACE}points")
    prototype = None if points is None else points.find(f"{SPACE}prototype")
    if prototype is None:
        raise InputError(f"its scan {number} does not say how its points are stored: it is damaged")
    fields = {_name(field.tag): field for field in prototype}
    place = next((names for names in (CARTESIAN, SPHERICAL) if all(name in fields for name in names)), None)
    if place is None:
        raise InputError(f"its scan {number} has neither Cartesian nor spherical coordinates (it has {', '.join(fields)[:200]})")
    count = int(points.get("recordCount", "0"))
    bits = sum(_bits(fields[name]) for name in place)
    if count < 0 or (count and not bits) or count * bits > 8 * size:
        raise InputError(f"its scan {number} promises {count} points of {bits} bits, but the file holds {size} bytes: it is damaged")
    wanted = [*place, *(name for name in (*INVALID, *SCALARS) if name in fields)]
    wanted += [name for group in (COLORS, NORMALS) if all(name in fields for name in group) for name in group]
    limits = [_number(child.find(f"{SPACE}colorLimits/{SPACE}{name}Maximum")) for name in COLORS]
    rotation, translation = _pose(number, child.find(f"{SPACE}pose"))
    placed = place is SPHERICAL or {"rowIndex", "columnIndex"} <= fields.keys() or not np.allclose(rotation, np.eye(3))
    return Scan(number, count, tuple(wanted), rotation, translation, placed, max(limits) if all(limit > 0 for limit in limits) else None)


def _name(tag: str) -> str:
    """The name of a point's field as the native library spells it: the extension of normals is the only one that is read."""
    space, _, name = tag.rpartition("}")
    return name if f"{space}}}" == SPACE else f"nor:{name}" if "surface_normals" in space else f"other:{name}"


def _bits(field: ET.Element) -> int:
    """Bits that a point takes for a field."""
    if field.get("type") == "Float":
        return 32 if field.get("precision") == "single" else 64
    return max(0, int(field.get("maximum", str(2**63 - 1))) - int(field.get("minimum", str(-(2**63))))).bit_length()


def _number(node: ET.Element | None) -> float:
    """The number in a node, 0 where there is none, as the format has it."""
    if node is None or not (node.text or "").strip():
        return 0.0
    value = float(node.text) * float(node.get("scale", "1")) + float(node.get("offset", "0"))
    if not math.isfinite(value):
        raise InputError(f"its XML part holds the number {node.text.strip()[:40]}: it is damaged")
    return value


def _pose(number: int, pose: ET.Element | None) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and translation (3,) of world_from_scan."""
    if pose is None:
        return np.eye(3), np.zeros(3)
    at = lambda part, axis: _number(pose.find(f"{SPACE}{part}/{SPACE}{axis}"))
    q = np.array([at("rotation", axis) for axis in "wxyz"]) if pose.find(f"{SPACE}rotation") is not None else np.array([1.0, 0, 0, 0])
    return rotation(q, f"its scan {number}"), np.array([at("translation", axis) for axis in "xyz"])


def _cloud(path: Path, scan: Scan, columns: dict[str, np.ndarray], several: bool) -> PointCloud | None:
    """One scan in the world; None where no point of it is valid."""
    keep = np.ones(scan.points, bool)
    for name in INVALID:
        if name in columns:
            keep &= columns[name] == 0  # 1: a direction alone, 2: nothing
    columns = {name: column[keep] for name, column in columns.items()}
    if CARTESIAN[0] in columns:
        local = np.column_stack([columns[name] for name in CARTESIAN])
    else:
        reach, azimuth, elevation = (columns[name] for name in SPHERICAL)
        flat = np.cos(elevation) * reach
        local = np.column_stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) * reach])
    if not keep.all():
        log.info("%s: scan %d: left out %d of %d points that are marked as invalid", path.name, scan.number, (~keep).sum(), len(keep))
    if not len(local):
        return None
    rows = np.isfinite(local).all(axis=1)
    if 2 * rows.sum() <= len(rows):
        raise InputError(f"{(~rows).sum()} of the {len(rows)} points of its scan {scan.number} are NaN or infinite: it is damaged")
    columns, local = {name: column[rows] for name, column in columns.items()}, local[rows]
    points = local @ scan.rotation.T + scan.translation
    colors = np.column_stack([columns[name] for name in COLORS]) if COLORS[0] in columns else None
    normals = np.column_stack([columns[name] for name in NORMALS]) @ scan.rotation.T if NORMALS[0] in columns else None
    scalars = {ours: columns[name] for name, ours in SCALARS.items() if name in columns}
    if several:
        scalars["scan"] = np.full(len(points), scan.number, np.int32)
    return PointCloud(
        points,
        normals=attributes.unit_normals(path, normals),
        colors=attributes.srgb(path, colors if colors is None or scan.brightest is None else np.clip(colors / scan.brightest, 0, 1)),
        scalars=scalars,
        origins=np.broadcast_to(scan.translation, points.shape) if scan.placed else None,
    )
