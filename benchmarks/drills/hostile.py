"""Malformed and degenerate scans through the command: each is refused in one sentence that names the file, or becomes a solid.

A new format is a new row in FAMILIES: twelve cases, each a name, a file name, and what writes the file.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import laspy
import numpy as np

from drills.child import SMALL, WHOLE, Ended, Row, names, ran, row, unsound
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

REFUSED, SOLID, EITHER = "refused", "solid", "refused or solid"
LONGEST = 5.0  # processor seconds for a refusal
MORE = 500e6  # bytes beyond what the command takes on a good file

Points = np.ndarray


def ball(count: int = 500, seed: int = 0) -> Points:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def with_rows(points: Points, share: float, value: float) -> Points:
    """A share of the points, spread over all, made one value."""
    points = points.copy()
    points[:: round(1 / share)] = value
    return points


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    wanted: str
    write: Callable[[Path], object]


# PLY --------------------------------------------------------------------------------------------------------------------------------------


def ply(
    points: Points, normals: Points | None = None, *, count: object = None, kind: str = "binary_little_endian", more: str = ""
) -> bytes:
    columns = [points] if normals is None else [points, normals]
    keys = ["x", "y", "z", "nx", "ny", "nz"][: 3 * len(columns)]
    head = ["ply", f"format {kind} 1.0", f"element vertex {len(points) if count is None else count}"]
    head += [f"property float {key}" for key in keys] + ([more] if more else []) + ["end_header", ""]
    return "\n".join(head).encode() + np.hstack(columns).astype("<f4").tobytes()


def ascii_ply(rows: str, count: int) -> bytes:
    return ply(np.empty((0, 3)), count=count, kind="ascii") + rows.encode()


def saved(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def rows_of(points: Points, separator: str = " ") -> str:
    return "".join(separator.join(f"{value:.9g}" for value in row) + "\n" for row in points)


BALL = ball()
PLY = [
    Case("no byte", "scan.ply", REFUSED, saved(b"")),
    Case("cut within the header", "scan.ply", REFUSED, saved(ply(BALL)[:60])),
    Case("cut within a vertex", "scan.ply", REFUSED, saved(ply(BALL)[:-5])),
    Case("a header that counts 2^50 vertices", "scan.ply", REFUSED, saved(ply(BALL, count=2**50))),
    Case("a header that counts -1 vertices", "scan.ply", REFUSED, saved(ply(BALL, count=-1))),
    Case("a property of no known type", "scan.ply", REFUSED, saved(ply(BALL, more="property quaternion w"))),
    Case("words among the numbers", "scan.ply", REFUSED, saved(ascii_ply("0 0 zero\n" * 9, 9))),
    Case("a list of 2^32 - 1 items", "scan.ply", REFUSED, saved(ply(BALL, more="property list uint int of").replace(b"\0", b"\xff"))),
    Case("every coordinate NaN", "scan.ply", REFUSED, saved(ply(BALL * np.nan))),
    Case("a tenth NaN, a tenth infinite", "scan.ply", SOLID, saved(ply(with_rows(with_rows(BALL, 0.1, np.nan)[::-1], 0.1, np.inf)))),
    Case("every normal zero", "scan.ply", SOLID, saved(ply(BALL, 0 * BALL))),
    Case("every second normal flipped", "scan.ply", SOLID, saved(ply(BALL, BALL * np.resize([[1], [-1]], (len(BALL), 1))))),
]

# LAS, LAZ ---------------------------------------------------------------------------------------------------------------------------------


def las(points: Points, *, packed: bool = False, version: str = "1.2", form: int = 3) -> bytes:
    header = laspy.LasHeader(version=version, point_format=form)
    header.scales = [1e-4] * 3
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = np.asarray(points, float).T
    file = io.BytesIO()
    cloud.write(file, do_compress=packed)
    return file.getvalue()


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """Bytes with some of them overwritten; a negative place counts from the end."""
    at %= len(data)
    return data[:at] + value + data[at + len(value) :]


LAS_BALL, LAZ_BALL = las(BALL), las(BALL, packed=True)
START = int.from_bytes(LAZ_BALL[96:100], "little")  # of the points
LAS = [
    Case("the signature alone", "scan.las", REFUSED, saved(b"LASF")),
    Case("cut within the header", "scan.las", REFUSED, saved(LAS_BALL[:200])),
    Case("cut within the points", "scan.las", REFUSED, saved(LAS_BALL[:-1000])),
    Case("a header that counts 2^32 - 1 points", "scan.las", REFUSED, saved(patched(LAS_BALL, 107, b"\xff" * 4))),
    Case("points said to begin behind the end", "scan.las", REFUSED, saved(patched(LAS_BALL, 96, struct.pack("<I", 10**9)))),
    Case("points of one byte", "scan.las", REFUSED, saved(patched(LAS_BALL, 105, struct.pack("<H", 1)))),
    Case("a scale of NaN", "scan.las", REFUSED, saved(patched(LAS_BALL, 131, struct.pack("<d", np.nan)))),
    Case("a text under the name of LAS", "scan.las", REFUSED, saved(rows_of(BALL).encode())),
    Case("LAZ cut within the points", "scan.laz", REFUSED, saved(LAZ_BALL[:-1000])),
    Case("LAZ whose table of chunks lies at 2^62", "scan.laz", REFUSED, saved(patched(LAZ_BALL, START, struct.pack("<q", 2**62)))),
    Case("LAZ with 64 bytes of its points inverted", "scan.laz", EITHER, saved(patched(LAZ_BALL, START + 2000, bytes(range(192, 256))))),
    Case("one point", "scan.las", REFUSED, saved(las(BALL[:1]))),
]

# Text -------------------------------------------------------------------------------------------------------------------------------------

LINE = np.linspace([0, 0, 0], [1, 2, 3], 300)
FLAT = np.column_stack([np.random.default_rng(0).random((600, 2)), np.zeros(600)])
FAR = BALL.copy()
FAR[::100] *= 100
TEXT = [
    Case("nothing but a header", "scan.csv", REFUSED, saved(b"x,y,z\n")),
    Case("random bytes", "scan.xyz", REFUSED, saved(np.random.default_rng(0).bytes(5000))),
    Case("rows of two, three and four numbers", "scan.txt", REFUSED, saved(b"1 2\n1 2 3\n1 2 3 4\n" * 50)),
    Case("a word in row 200", "scan.xyz", REFUSED, saved(rows_of(BALL).replace("\n", "\nnorth\n").encode())),
    Case("a PTS that counts ten times its points", "scan.pts", REFUSED, saved(f"5000\n{rows_of(BALL)}".encode())),
    Case("three points", "scan.xyz", REFUSED, saved(rows_of(BALL[:3]).encode())),
    Case("points on one line", "scan.xyz", EITHER, saved(rows_of(LINE).encode())),
    Case("points on one plane", "scan.xyz", EITHER, saved(rows_of(FLAT).encode())),
    Case("500 points at one place", "scan.xyz", REFUSED, saved(rows_of(BALL[:1].repeat(500, axis=0)).encode())),
    Case("30 % of the points twice", "scan.xyz", SOLID, saved(rows_of(np.vstack([BALL, BALL[:150]])).encode())),
    Case("1 % of the points 100 times as far out", "scan.xyz", SOLID, saved(rows_of(FAR).encode())),
    Case("a ball of a millionth", "scan.xyz", SOLID, saved(rows_of(1e-6 * BALL).encode())),
]

# NumPy ------------------------------------------------------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def bomb() -> bytes:
    """An archive of kilobytes whose array unpacks to a hundred megabytes of zeros, under a header that promises 20,000 times that."""
    head = npy(np.zeros((1, 3))).replace(b"(1, 3)", b"(%d, 3)" % 10**11)[:128]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("points.npy", "w", force_zip64=True) as member:
        member.write(head)
        for _ in range(100):
            member.write(bytes(10**6))
    return file.getvalue()


NUMPY = [
    Case("no archive at all", "scan.npz", REFUSED, saved(b"PK")),
    Case("an archive cut in the middle", "scan.npz", REFUSED, saved(npz(points=BALL)[:6000])),
    Case("an array that unpacks to more than all memory", "scan.npz", REFUSED, saved(bomb())),
    Case("a header of 10^12 points", "scan.npy", REFUSED, saved(npy(BALL).replace(b"(500, 3), }", b"(%d, 3), }" % 10**12))),
    Case("an array of objects", "scan.npz", REFUSED, lambda path: np.savez(path, points=np.array([[{}] * 3] * 9))),
    Case("points of two coordinates", "scan.npz", REFUSED, saved(npz(points=BALL[:, :2]))),
    Case("complex points", "scan.npz", REFUSED, saved(npz(points=BALL + 1j))),
    Case("no points", "scan.npz", REFUSED, saved(npz(points=BALL[:0]))),
    Case("one normal less than points", "scan.npz", REFUSED, saved(npz(points=BALL, normals=BALL[1:]))),
    Case("coordinates of 10^300", "scan.npz", EITHER, saved(npz(points=1e300 * BALL))),
    Case("a ball of a million", "scan.npz", SOLID, saved(npz(points=1e6 * BALL))),
    Case("every normal flipped", "scan.npz", SOLID, saved(npz(points=BALL, normals=-BALL))),
]

# PCD, E57 ---------------------------------------------------------------------------------------------------------------------------------


def pcd(points: Points, data: str = "binary", *, count: int | None = None, size: int = 4, fields: str = "x y z") -> bytes:
    count = len(points) if count is None else count
    sizes = " ".join([str(size)] * 3)
    head = f"VERSION .7\nFIELDS {fields}\nSIZE {sizes}\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {count}\nHEIGHT 1\nPOINTS {count}\nDATA {data}\n"
    return head.encode() + (rows_of(points).encode() if data == "ascii" else points.astype("<f4").tobytes())


def e57(change: Callable[[bytes], bytes], points: Points = BALL) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        import pye57

        whole = path.with_name("whole.e57")
        file = pye57.E57(str(whole), mode="w")
        file.write_scan_raw({f"cartesian{axis}": np.ascontiguousarray(column) for axis, column in zip("XYZ", points.T)})
        file.close()
        path.write_bytes(change(whole.read_bytes()))
        whole.unlink()

    return write


PROMISE = struct.pack("<IIQ", 8, 2**32 - 1, 0)  # bytes that follow, bytes that they unpack to
PCD = [
    Case("a header without fields", "scan.pcd", REFUSED, saved(pcd(BALL).replace(b"FIELDS x y z\n", b""))),
    Case("cut within the header", "scan.pcd", REFUSED, saved(pcd(BALL)[:70])),
    Case("cut within a point", "scan.pcd", REFUSED, saved(pcd(BALL)[:-5])),
    Case("a header that counts 2^60 points", "scan.pcd", REFUSED, saved(pcd(BALL, count=2**60))),
    Case("numbers of three bytes", "scan.pcd", REFUSED, saved(pcd(BALL, size=3))),
    Case("packed data that promise 4 GB", "scan.pcd", REFUSED, saved(pcd(BALL[:0], "binary_compressed") + PROMISE)),
    Case("no field named x", "scan.pcd", REFUSED, saved(pcd(BALL, fields="a b c"))),
    Case("a third of the rows NaN, as of depth cameras", "scan.pcd", SOLID, saved(pcd(with_rows(BALL, 1 / 3, np.nan), "ascii"))),
]
E57 = [
    Case("no byte", "scan.e57", REFUSED, saved(b"")),
    Case("the first kilobyte", "scan.e57", REFUSED, e57(lambda data: data[:1024])),
    Case("a page whose checksum fails", "scan.e57", REFUSED, e57(lambda data: patched(data, 2000, b"\xff" * 16))),
    Case("its XML inverted", "scan.e57", REFUSED, e57(lambda data: patched(data, -700, bytes(255 - byte for byte in data[-700:-600])))),
]

# Twelve of a format each; PCD and E57 share theirs.
FAMILIES = {"PLY": PLY, "LAS, LAZ": LAS, "text": TEXT, "NumPy": NUMPY, "PCD": PCD, "E57": E57}


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    good = folder / "good.ply"
    write_scan(PointCloud(BALL), good)
    base = tried(good, folder)
    yield Row("a good file", SOLID, "solid" if not base.code else base.last, not base.code, base.seconds, base.peak, base.used)
    for family, cases in FAMILIES.items():
        if family == "E57" and find_spec("pye57") is None:  # an optional package, which makes the files as well
            continue
        for case in cases[1:2] if quick else cases:
            file = folder / case.file
            case.write(file)
            ended = tried(file, folder)
            found, wrong = judgement(case, ended, file, folder / "out", base)
            yield row(f"{family}: {case.name}", case.wanted, wrong, ended, found)
            file.unlink()


def tried(file: Path, folder: Path) -> Ended:
    """The command on a file, into an empty folder."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return ran(file, "-o", out / "mesh.ply", *SMALL)


def judgement(case: Case, ended: Ended, file: Path, out: Path, base: Ended) -> tuple[str, str]:
    """What came of a case, and what is wrong with that ("" if nothing)."""
    left = names(out)
    if ended.peak > base.peak + MORE:
        return "", f"{(ended.peak - base.peak) / 1e6:.0f} MB more than for a good file"
    if ended.code == 0:
        strange = set(left) - {*WHOLE} - {"mesh.open.ply"}
        wrong = unsound(out / "mesh.ply") or ("" if not strange else f"left behind: {strange}")
        return "solid", wrong or ("" if SOLID in case.wanted else "taken for a scan")
    wrong = ended.unlike(2, file.name)
    if not wrong and left:
        wrong = f"left behind: {left}"
    if not wrong and ended.used > LONGEST:
        wrong = f"{ended.used:.1f} processor seconds are more than {LONGEST:g}"
    return "refused", wrong or ("" if REFUSED in case.wanted else ended.last)
