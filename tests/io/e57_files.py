"""E57 files as pye57's own library writes them: scans with poses, in Cartesian or spherical coordinates."""

from pathlib import Path

import numpy as np
import pytest

from surfrecon.io.e57 import CHECKSUM, HEADER, PAGE

BYTES = ("colorRed", "colorGreen", "colorBlue", "cartesianInvalidState", "sphericalInvalidState", "rowIndex", "columnIndex")
NORMALS_URI = "http://www.libe57.org/E57_NOR_surface_normals.txt"


def write_e57(path: Path, scans: list[dict], crs: str = "") -> Path:
    """A file of scans: each its columns by the format's names, perhaps `pose` (quaternion w x y z, translation), `limit` of colours."""
    pye57 = pytest.importorskip("pye57", reason="pye57 writes the file")
    with pye57.E57(str(path), mode="w") as file:
        image, lib = file.image_file, pye57.libe57
        real = lambda value: lib.FloatNode(image, float(value))
        if any("nor:normalX" in scan for scan in scans):
            image.extensionsAdd("nor", NORMALS_URI)
        for number, scan in enumerate(scans):
            columns = {name: np.ascontiguousarray(column) for name, column in scan.items() if name not in ("pose", "limit")}
            node, prototype = lib.StructureNode(image), lib.StructureNode(image)
            node.set("guid", lib.StringNode(image, f"{{{number}}}"))
            if "limit" in scan:
                limits = lib.StructureNode(image)
                for name in BYTES[:3]:
                    limits.set(f"{name}Minimum", lib.IntegerNode(image, 0))
                    limits.set(f"{name}Maximum", lib.IntegerNode(image, scan["limit"]))
                node.set("colorLimits", limits)
            if "pose" in scan:
                pose = lib.StructureNode(image)
                node.set("pose", pose)
                for part, axes, values in (("rotation", "wxyz", scan["pose"][0]), ("translation", "xyz", scan["pose"][1])):
                    child = lib.StructureNode(image)
                    for axis, value in zip(axes, values):
                        child.set(axis, real(value))
                    pose.set(part, child)
            buffers, count = lib.VectorSourceDestBuffer(), len(next(iter(columns.values())))
            for name, column in columns.items():
                whole = name in BYTES
                prototype.set(name, lib.IntegerNode(image, 0, 0, 65535) if whole else real(0))
                columns[name] = column = column.astype("H" if whole else "d")
                buffers.append(lib.SourceDestBuffer(image, name, column, count, True, True))
            points = lib.CompressedVectorNode(image, prototype, lib.VectorNode(image, True))
            node.set("points", points)
            file.data3d.append(node)
            writer = points.writer(buffers)
            writer.write(count)
            writer.close()
    if crs:  # the library lets what write_default_header() has set stand
        rewrite_xml(path, b'<coordinateMetadata type="String"/>', f'<coordinateMetadata type="String">{crs}</coordinateMetadata>'.encode())
    return path


def rewrite_xml(path: Path, old: bytes, new: bytes) -> None:
    """Put other words into the XML part, with right lengths and checksums; it must be the last part of the file."""
    data = path.read_bytes()
    signature, major, minor, _, place, length, page = HEADER.unpack(data[: HEADER.size])
    inner = PAGE - CHECKSUM
    logical = b"".join(data[at : at + inner] for at in range(0, len(data), PAGE))
    start = place // PAGE * inner + place % PAGE
    text = logical[start : start + length]
    assert text.count(old) >= 1, old
    text = text.replace(old, new, 1)
    logical = logical[:start] + text
    logical += bytes(-len(logical) % inner)
    size = len(logical) // inner * PAGE
    logical = HEADER.pack(signature, major, minor, size, place, len(text), page) + logical[HEADER.size :]
    pages = (logical[at : at + inner] for at in range(0, len(logical), inner))
    path.write_bytes(b"".join(part + crc32c(part).to_bytes(CHECKSUM, "big") for part in pages))


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, byte by byte."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
