"""Damaged files of every format: each copy is refused in one sentence or gives finite points, in little time and memory."""

import subprocess
import sys
from pathlib import Path

import laspy
import numpy as np
import pytest
import trimesh
from e57_files import write_e57
from test_pcd import pcd

from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import write_mesh, write_scan

COUNT = 300  # damaged copies of each file
FEW = 60  # of those that are decoded in a process of their own: each takes a fifth of a second
PATIENCE = 60  # seconds for a group's; 2 are usual
SPHERE = trimesh.creation.icosphere(subdivisions=1)  # 42 vertices: small files are mostly header
CENTRE = np.array([8e5, 5.8e6, 100.0])


def mesh() -> Mesh:
    ball = SPHERE.vertices
    return Mesh(ball, SPHERE.faces, normals=ball, colors=(ball + 1) / 2, scalars={"confidence": np.abs(ball[:, 0])}, crs="EPSG:25832")


def scan() -> PointCloud:
    ball = SPHERE.vertices
    fields = {"label": np.arange(len(ball), dtype=np.int16), "time": np.abs(ball[:, 0])}
    return PointCloud(ball + CENTRE, ball, (ball + 1) / 2, fields, origins=ball, crs="EPSG:25832")


def table(path: Path, separator: str, header: str) -> None:
    ball = SPHERE.vertices
    rows = np.column_stack([ball + CENTRE, ball, np.round((ball + 1) * 127)])
    np.savetxt(path, rows, "%.6f", separator, header=header, comments="")


def las(path: Path, version: str, form: int) -> None:
    header = laspy.LasHeader(version=version, point_format=form)
    header.offsets, header.scales = CENTRE, [0.001] * 3
    header.add_extra_dim(laspy.ExtraBytesParams("quality", "f4"))
    header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr('PROJCS["UTM 32N"]'))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = (SPHERE.vertices + CENTRE).T
    cloud.red = cloud.intensity = np.arange(len(SPHERE.vertices)) * 1000
    cloud.write(str(path))


def records(path: Path) -> None:
    kinds = [("x", "<f8"), ("y", ">f8"), ("z", "<f4"), ("label", ">i2")]
    np.save(path, np.array([(*row, 5) for row in SPHERE.vertices.tolist()], kinds))


def clouds(path: Path, data: str) -> None:
    ball = SPHERE.vertices
    rows = np.zeros(len(ball), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4"), ("normal_x", "f4"), ("label", "i2")])
    rows["x"], rows["y"], rows["z"] = ball.T
    rows["rgb"] = rows["label"] = np.arange(len(ball))
    path.write_bytes(pcd(rows, data, viewpoint="0 0 9 1 0 0 0"))


def stations(path: Path) -> None:
    columns = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), SPHERE.vertices.T))
    colours = dict.fromkeys(("colorRed", "colorGreen", "colorBlue"), np.arange(len(SPHERE.vertices)))
    write_e57(path, [columns | colours | {"limit": 255}, columns | {"pose": ((0.6, 0, 0, 0.8), CENTRE)}])


def turn(path: Path) -> None:
    np.column_stack([10 * SPHERE.vertices, np.abs(SPHERE.vertices[:, 0])]).astype("<f4").tofile(path)


GROUPS = {  # what is tried in one process: file name -> how it is written
    "PLY": {
        "mesh.ply": lambda path: write_mesh(mesh(), path),
        "mesh_ascii.ply": lambda path: path.write_bytes(trimesh.exchange.ply.export_ply(SPHERE, encoding="ascii")),
        "scan.ply": lambda path: write_scan(scan(), path),
    },
    "OBJ, OFF, STL, GLB, 3MF": {
        "mesh.obj": lambda path: write_mesh(mesh(), path),
        "mesh.off": lambda path: path.write_text(SPHERE.export(file_type="off")),
        "mesh.stl": lambda path: write_mesh(mesh(), path),
        "mesh_ascii.stl": lambda path: path.write_text(SPHERE.export(file_type="stl_ascii")),
        "mesh.glb": lambda path: write_mesh(mesh(), path),
        "mesh.3mf": lambda path: write_mesh(mesh(), path),
    },
    "PCD, KITTI": {
        "scan_ascii.pcd": lambda path: clouds(path, "ascii"),
        "scan_binary.pcd": lambda path: clouds(path, "binary"),
        "scan_compressed.pcd": lambda path: clouds(path, "binary_compressed"),
        "scan.bin": turn,
    },
    "E57": {"scan.e57": stations},
    "text": {
        "scan.xyz": lambda path: write_scan(scan(), path),
        "scan.csv": lambda path: table(path, ";", "x;y;z;nx;ny;nz;red;green;blue"),
        "scan.pts": lambda path: table(path, " ", "42"),
    },
    "NumPy": {
        "scan.npy": lambda path: np.save(path, SPHERE.vertices + CENTRE),
        "scan_records.npy": records,
        "scan.npz": lambda path: write_scan(scan(), path),
        "scan_compressed.npz": lambda path: np.savez_compressed(path, points=SPHERE.vertices, label=np.arange(42)),
    },
    "LAS": {"scan_1_2.las": lambda path: las(path, "1.2", 3), "scan_1_4.las": lambda path: las(path, "1.4", 7)},
    "LAZ": {"scan_1_2.laz": lambda path: las(path, "1.2", 3), "scan_1_4.laz": lambda path: las(path, "1.4", 7)},
}
COUNTS = {group: FEW if group == "E57" else COUNT for group in GROUPS}


def test_two_thousand_damaged_files_are_tried():
    assert sum(COUNTS[group] * len(writers) for group, writers in GROUPS.items()) >= 2000


@pytest.mark.parametrize("group, writers", GROUPS.items(), ids=GROUPS.keys())
def test_a_damaged_file_is_refused_or_gives_finite_points(tmp_path, group, writers):
    for name, write in writers.items():
        write(tmp_path / name)
    # A process of its own: native decoders that hang, take all memory or end the process must not do so to the tests.
    program = Path(__file__).with_name("mutations.py")
    command = [sys.executable, str(program), str(COUNTS[group]), *(str(tmp_path / name) for name in writers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"the process ended at the newest file damaged_... in {tmp_path}: {done.stderr[:1000]}"
    assert done.stdout == ""
