"""COLMAP's models: every camera model by its documented formula, tracks, cut files."""

import re
import shutil

import numpy as np
import pytest
from scene import CORNER, COUNT, HEIGHT, INTRINSICS, WIDTH, cameras, colmap_binary, colmap_text, dot, middle, words, write_images

from surfrecon.errors import InputError
from surfrecon.io import read_views

F, FX, FY, CX, CY = 70.0, 70.0, 72.0, 33.3, 22.6


def radial(x, y, *k):
    r2 = x * x + y * y
    return 1 + sum(factor * r2 ** (i + 1) for i, factor in enumerate(k))


def brown(x, y, k1, k2, p1, p2, top=0.0, below=(0.0, 0.0, 0.0)):
    r2 = x * x + y * y
    factor = radial(x, y, k1, k2, top) / radial(x, y, *below)
    return x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def fisheye(x, y, *k):
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bent = theta * radial(theta, 0, *k)
    return x * bent / r, y * bent / r


# name -> number in binary files, parameters behind focal lengths and centre, whether there are two focal lengths, x, y -> x, y
MODELS = {
    "SIMPLE_PINHOLE": (0, [], False, lambda x, y: (x, y)),
    "PINHOLE": (1, [], True, lambda x, y: (x, y)),
    "SIMPLE_RADIAL": (2, [0.5], False, lambda x, y: (x * radial(x, y, 0.5), y * radial(x, y, 0.5))),
    "RADIAL": (3, [0.5, 0.1], False, lambda x, y: (x * radial(x, y, 0.5, 0.1), y * radial(x, y, 0.5, 0.1))),
    "OPENCV": (4, [0.4, -0.1, 0.06, -0.04], True, lambda x, y: brown(x, y, 0.4, -0.1, 0.06, -0.04)),
    "OPENCV_FISHEYE": (5, [-0.3, -0.05, 0.02, 0.01], True, lambda x, y: fisheye(x, y, -0.3, -0.05, 0.02, 0.01)),
    "FULL_OPENCV": (
        6,
        [0.4, -0.1, 0.06, -0.04, 0.05, 0.4, 0.1, 0.02],
        True,
        lambda x, y: brown(x, y, 0.4, -0.1, 0.06, -0.04, 0.05, (0.4, 0.1, 0.02)),
    ),
    "SIMPLE_RADIAL_FISHEYE": (8, [-0.3], False, lambda x, y: fisheye(x, y, -0.3)),
    "RADIAL_FISHEYE": (9, [-0.3, -0.05], False, lambda x, y: fisheye(x, y, -0.3, -0.05)),
}


def seen(model: str, pose: np.ndarray) -> np.ndarray:
    """The pixel that the camera model gives the corner."""
    _, _, two, lens = MODELS[model]
    x, y, z = pose[:3, :3] @ CORNER + pose[:3, 3]
    u, v = lens(x / z, y / z)
    return np.array([FX * u + CX, (FY if two else F) * v + CY])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("model", MODELS)
def test_images_of_every_model_show_the_corner_where_the_pinhole_says(tmp_path, model, binary):
    number, extra, two, _ = MODELS[model]
    parameters = [FX, FY, CX, CY, *extra] if two else [F, CX, CY, *extra]
    if binary:
        colmap_binary(tmp_path, number, parameters)
    else:
        colmap_text(tmp_path, f"{model} {WIDTH} {HEIGHT} {words(np.array(parameters))}")
    write_images(tmp_path / "images", [dot(seen(model, pose)) for pose in cameras()])
    views = read_views(tmp_path, check=False)
    moved = 0
    for v, pose in enumerate(cameras()):
        at, _ = views.project(v, CORNER[None])
        # Bilinear sampling and local stretching of the dot move its centre by up to 0.1 pixels, the distortion by more than 0.4.
        assert np.abs(at[0] - middle(views.images[v])).max() < 0.1
        moved = max(moved, np.abs(seen(model, pose) - seen("PINHOLE" if two else "SIMPLE_PINHOLE", pose)).max())
    assert (moved > 0.4) == bool(extra)


@pytest.mark.parametrize("write", [colmap_text, colmap_binary], ids=["text", "binary"])
def test_points_are_those_that_three_images_share(tmp_path, write):
    np.testing.assert_array_equal(read_views(write(tmp_path), check=False).points, [CORNER, CORNER + 1])


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_each_beginning_of_a_binary_file_is_refused(tmp_path, name):
    path = colmap_binary(tmp_path) / "sparse/0" / name
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"ends within|promises|cut short"):
            read_views(tmp_path, check=False)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="holds 1 bytes more than its records take"):
        read_views(tmp_path, check=False)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_count_that_the_file_cannot_hold_is_refused(tmp_path, name):
    path = colmap_binary(tmp_path) / "sparse/0" / name
    whole = path.read_bytes()
    path.write_bytes((2**62).to_bytes(8, "little") + whole[8:])
    with pytest.raises(InputError, match=f"{name} promises {2**62} .*, more than its {len(whole)} bytes can hold"):
        read_views(tmp_path, check=False)


@pytest.mark.parametrize("place", [".", "sparse", "colmap/sparse/0"])
def test_models_are_found_where_tools_leave_them(tmp_path, place):
    colmap_text(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for file in (tmp_path / "sparse/0").iterdir():
        shutil.move(file, tmp_path / place / file.name)
    assert len(read_views(tmp_path, check=False)) == len(read_views(tmp_path / place, check=False)) == COUNT


def test_of_several_models_the_largest_is_read(tmp_path):
    colmap_text(tmp_path)
    shutil.copytree(tmp_path / "sparse/0", tmp_path / "sparse/1")
    images = tmp_path / "sparse/0/images.txt"
    images.write_text("\n".join(images.read_text().splitlines()[:4]) + "\n")
    assert len(read_views(tmp_path, check=False)) == COUNT
    assert len(read_views(tmp_path / "sparse/0", check=False)) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PINHOLE 64 48", "FOV 64 48 0.9", r"camera model is FOV; known are SIMPLE_PINHOLE, .*: undistort the images with COLMAP"),
        ("PINHOLE 64 48", "PINHOLE 64 48 1", r"parameters of a PINHOLE camera in cameras.txt must be 4 numbers, got 5"),
        ("PINHOLE 64 48", "PINEHOLE 64 48", r"a camera must be 'id model width height parameters', got '7 PINEHOLE"),
        ("7 PINHOLE", "8 PINHOLE", r"the image 0000.0.png was taken by camera 7, which the model lacks"),
        ("PINHOLE 64 48", "PINHOLE 0 48", r"a camera of 0 x 48 pixels"),
    ],
)
def test_cameras_that_cannot_be_say_what_is_wrong(tmp_path, old, new, message):
    path = colmap_text(tmp_path) / "sparse/0/cameras.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_views(tmp_path, check=False)


def test_distortion_that_folds_the_image_is_refused(tmp_path):
    colmap_text(tmp_path, f"SIMPLE_RADIAL {WIDTH} {HEIGHT} 70 33.3 22.6 -4.0")
    with pytest.raises(InputError, match=r"000000.png: its lens distortion folds the image over itself within the frame"):
        read_views(tmp_path, check=False)


def test_a_missing_image_is_named(tmp_path):
    (colmap_text(tmp_path) / "images/000020.png").unlink()
    with pytest.raises(InputError, match=re.escape("it names the image '000020.png', which is neither in")):
        read_views(tmp_path, check=False)


def test_a_model_of_intrinsics_is_that_of_the_scene(tmp_path):
    np.testing.assert_array_equal(read_views(colmap_binary(tmp_path), check=False).intrinsics[0], INTRINSICS)
