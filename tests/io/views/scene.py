"""A small scene, written in each format that read_views knows: cameras on an arc, each image black but for a soft dot where a known corner
of the world lies. Everything is computed here by the formats' own formulas, so that reader and writer share no code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT = 64, 48
COUNT = 5
CORNER = np.array([12.1, -3.2, 5.3])  # world
INTRINSICS = np.array([[70.0, 0, 33.3], [0, 72.0, 22.6], [0, 0, 1]])  # (0, 0) at the corner of the image
DOT = 1.2  # pixels, standard deviation
HALF = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # to (0, 0) amid the first pixel


def cameras() -> np.ndarray:
    """(V, 4, 4) world-to-camera, OpenCV axes: on an arc, rolled a little, the corner in view but never in the middle."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    for v in range(COUNT):
        angle = 0.4 * v
        eye = CORNER + 4 * np.array([np.sin(angle), 0.3 * np.cos(3 * angle), -np.cos(angle)])
        forward = CORNER + np.array([0.9, 0.4, -0.1 * v]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross([0, -1, 0.0], forward)
        right /= -np.linalg.norm(right)
        axes = Rotation.from_rotvec([0, 0, 0.1 * v]).as_matrix() @ np.stack([right, np.cross(forward, right), forward])
        poses[v, :3, :3], poses[v, :3, 3] = axes, -axes @ eye
    return poses


def pixel(intrinsics: np.ndarray, pose: np.ndarray, point: np.ndarray = CORNER) -> np.ndarray:
    x, y, w = intrinsics @ (pose[:3, :3] @ point + pose[:3, 3])
    return np.array([x / w, y / w])


def dot(at: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """(H, W) uint8, bright about a pixel position."""
    x, y = np.arange(size[0]) + 0.5 - at[0], np.arange(size[1])[:, None] + 0.5 - at[1]
    return np.round(250 * np.exp(-(x**2 + y**2) / (2 * DOT**2))).astype(np.uint8)


def middle(image: np.ndarray) -> np.ndarray:
    """Pixel position of the dot in an image."""
    weight = image.astype(float).mean(axis=2)
    y, x = np.indices(weight.shape) + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def names() -> list[str]:
    return [f"{10 * v:06d}.png" for v in range(COUNT)]


def write_images(folder: Path, images: list[np.ndarray] | None = None, called: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for v, name in enumerate(called or names()):
        Image.fromarray(dot(pixel(INTRINSICS, cameras()[v])) if images is None else images[v]).save(folder / name)


def words(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


# writers: each fills a folder with the scene, and gives the path to read ------------------------------------------------------------


def colmap_text(folder: Path, camera: str | None = None) -> Path:
    write_images(folder / "images")
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    fx, fy, cx, cy = INTRINSICS[[0, 1, 0, 1], [0, 1, 2, 2]]
    (model / "cameras.txt").write_text(f"# comment\n7 {camera or f'PINHOLE {WIDTH} {HEIGHT} {words([fx, fy, cx, cy])}'}\n")
    lines = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for v in reversed(range(COUNT)):  # in any order; observations on the second line, or none
        x, y, z, w = Rotation.from_matrix(cameras()[v, :3, :3]).as_quat()
        lines += [f"{v + 1} {words([w, x, y, z])} {words(cameras()[v, :3, 3])} 7 {names()[v]}", "" if v % 2 else "3.5 4.5 -1 9 9 1"]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    tracks = ["1 0 2 0 3 0", "1 0 2 0 3 0 4 1", "1 0 2 0"]
    (model / "points3D.txt").write_text("".join(f"{i} {words(CORNER + i)} 9 9 9 0.5 {track}\n" for i, track in enumerate(tracks)))
    return folder


def colmap_binary(folder: Path, model_number: int = 1, parameters: list[float] | None = None) -> Path:
    write_images(folder / "images")
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    values = parameters or [INTRINSICS[0, 0], INTRINSICS[1, 1], INTRINSICS[0, 2], INTRINSICS[1, 2]]
    camera = struct.pack(f"<QiiQQ{len(values)}d", 1, 7, model_number, WIDTH, HEIGHT, *values)
    (model / "cameras.bin").write_bytes(camera)
    data = struct.pack("<Q", COUNT)
    for v in reversed(range(COUNT)):
        x, y, z, w = Rotation.from_matrix(cameras()[v, :3, :3]).as_quat()
        data += struct.pack("<i7di", v + 1, w, x, y, z, *cameras()[v, :3, 3], 7) + names()[v].encode() + b"\0"
        data += struct.pack("<Q", v) + struct.pack("<ddq", 1.5, 2.5, -1) * v
    (model / "images.bin").write_bytes(data)
    data = struct.pack("<Q", 3)
    for i, track in enumerate([3, 4, 2]):
        data += struct.pack("<Q3d3BdQ", i, *(CORNER + i), 9, 9, 9, 0.5, track) + struct.pack("<ii", 1, 0) * track
    (model / "points3D.bin").write_bytes(data)
    return folder


def transforms(folder: Path, opengl: bool = True, **common) -> Path:
    write_images(folder / "images")
    flip = np.diag([1, -1, -1, 1]) if opengl else np.eye(4)
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 70.0, "fl_y": 72.0, "cx": 33.3, "cy": 22.6} | common
    matrices = (np.linalg.inv(cameras()) @ flip).tolist()
    frames = [{"file_path": f"./images/{name}", "transform_matrix": matrix} for name, matrix in zip(names(), matrices)]
    (folder / "transforms.json").write_text(json.dumps(content | {"frames": frames}))
    return folder


def neus2(folder: Path) -> Path:
    """NeuS2's own: OpenCV axes by from_na, a 4 x 4 intrinsic matrix for each frame."""
    transforms(folder, opengl=False)
    matrix = np.eye(4)
    matrix[:3, :3] = INTRINSICS
    content = json.loads((folder / "transforms.json").read_text())
    frames = [frame | {"intrinsic_matrix": matrix.tolist()} for frame in content["frames"]]
    own = {"from_na": True, "w": WIDTH, "h": HEIGHT, "aabb_scale": 1.0, "scale": 0.5, "offset": [0.5, 0.5, 0.5], "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(own))
    return folder


def idr(folder: Path) -> Path:
    write_images(folder / "image")
    matrices = {}
    for v, pose in enumerate(cameras()):
        matrix = np.eye(4)
        matrix[:3] = -2.5 * HALF @ INTRINSICS @ pose[:3] if v == 2 else HALF @ INTRINSICS @ pose[:3]  # P has neither scale nor sign
        matrices |= {f"world_mat_{v}": matrix, f"scale_mat_{v}": np.diag([3, 3, 3, 1.0]), f"world_mat_inv_{v}": np.linalg.inv(matrix)}
    np.savez(folder / "cameras_sphere.npz", **matrices)
    return folder


def mvsnet(folder: Path) -> Path:
    write_images(folder / "blended_images")
    (folder / "cams").mkdir()
    for name, pose in zip(names(), cameras()):
        text = f"extrinsic\n{words(pose)}\n\nintrinsic\n{words(INTRINSICS)}\n\n425.0 2.5 192 935.0\n"
        (folder / "cams" / name.replace(".png", "_cam.txt")).write_text(text)
    (folder / "cams/pair.txt").write_text("5\n0\n1 1 20.5\n")
    return folder


def middlebury(folder: Path) -> Path:
    write_images(folder)
    lines = [f"{name} {words(HALF @ INTRINSICS)} {words(pose[:3, :3])} {words(pose[:3, 3])}" for name, pose in zip(names(), cameras())]
    (folder / "cornerSR_par.txt").write_text("\n".join([str(COUNT), *lines]) + "\n")
    return folder


def strecha(folder: Path) -> Path:
    write_images(folder / "images")
    (folder / "gt_dense_cameras").mkdir()
    for name, pose in zip(names(), cameras()):
        inverse = np.linalg.inv(pose)
        rows = [HALF @ INTRINSICS, np.zeros(3), inverse[:3, :3], inverse[:3, 3]]
        text = "\n".join(words(row) for block in rows for row in np.atleast_2d(block)) + f"\n{WIDTH} {HEIGHT}\n"
        (folder / "gt_dense_cameras" / f"{name}.camera").write_text(text)
    return folder


def rgbd(folder: Path) -> Path:
    stems = [name.removesuffix(".png") for name in names()]
    write_images(folder / "color", called=[f"{stem}.color.png" for stem in stems])
    for name in ("depth", "pose"):
        (folder / name).mkdir()
    for stem, pose in zip(stems, cameras()):
        depth = np.full((HEIGHT, WIDTH), round(1000 * (pose[:3, :3] @ CORNER + pose[:3, 3])[2]), np.uint16)
        depth[0], depth[1] = 0, 65535
        Image.fromarray(depth).save(folder / "depth" / f"{stem}.depth.png")
        (folder / "pose" / f"{stem}.pose.txt").write_text("\n".join(words(row) for row in np.linalg.inv(pose)) + "\n")
    (folder / "camera-intrinsics.txt").write_text("\n".join(words(row) for row in HALF @ INTRINSICS))
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "COLMAP text": colmap_text,
    "COLMAP binary": colmap_binary,
    "transforms.json": transforms,
    "NeuS2": neus2,
    "NeuS": idr,
    "MVSNet": mvsnet,
    "Middlebury": middlebury,
    "Strecha": strecha,
    "RGB-D": rgbd,
}
