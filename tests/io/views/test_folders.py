"""What is particular to single formats and to where their files lie."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scene import COUNT, INTRINSICS, cameras, colmap_text, idr, middlebury, mvsnet, names, rgbd, strecha

from surfrecon.errors import InputError
from surfrecon.io import read_views
from surfrecon.io.views.folders import in_order, inside
from surfrecon.io.views.matrices import decomposed


def test_numbers_in_names_are_in_order():
    given = [Path(name) for name in ("a10.png", "a9.png", "a010.png", "b1.png", "7.png")]
    assert [path.name for path in sorted(given, key=in_order)] == ["7.png", "a9.png", "a10.png", "a010.png", "b1.png"]


def test_names_inside_are_resolved_against_the_folder(tmp_path):
    assert inside(tmp_path, "./a/b.png") == tmp_path / "a/b.png" and inside(tmp_path, "a\\b.png") == tmp_path / "a/b.png"
    for name in ("", "/etc/passwd", "..", "a/../../b", "C:/x", "\\\\server\\x"):
        with pytest.raises(InputError, match="which isn't a path inside its own folder"):
            inside(tmp_path, name)


ONE_FILE = {mvsnet: "cams/000000_cam.txt", strecha: "gt_dense_cameras/000000.png.camera", middlebury: "cornerSR_par.txt"}


@pytest.mark.parametrize(("write", "file"), ONE_FILE.items(), ids=["MVSNet", "Strecha", "Middlebury"])
def test_a_camera_file_stands_for_its_folder(tmp_path, write, file):
    write(tmp_path)
    assert len(read_views(tmp_path / file, check=False)) == COUNT


def test_images_in_several_folders_keep_their_folder_in_the_name_and_find_masks_there(tmp_path):
    colmap_text(tmp_path)
    text = (tmp_path / "sparse/0/images.txt").read_text()
    for v, name in enumerate(names()):
        side = ("left", "right")[v % 2]
        for folder in ("images", "masks"):
            (tmp_path / folder / side).mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "images" / name, tmp_path / "images" / side / "1.png" if v < 2 else tmp_path / "images" / side / name)
        Image.fromarray(np.arange(48 * 64).reshape(48, 64) > v).save(tmp_path / "masks" / side / ("1.png" if v < 2 else name))
        text = text.replace(f" {name}", f" {side}/1.png" if v < 2 else f" {side}/{name}")
    (tmp_path / "sparse/0/images.txt").write_text(text)
    views = read_views(tmp_path, check=False)
    assert views.names == ("left/1.png", "left/000020.png", "left/000040.png", "right/1.png", "right/000030.png")
    assert [int((~mask).sum()) - 1 for mask in views.masks] == [0, 2, 4, 1, 3]


# projection matrices ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, -1.0, 1e-6, -1e7])
def test_a_projection_matrix_gives_its_camera_whatever_its_scale_and_sign(factor):
    skewed = INTRINSICS.copy()
    skewed[0, 1] = 1.5
    for pose in cameras():
        intrinsics, found = decomposed(factor * skewed @ pose[:3], "a")
        np.testing.assert_allclose(intrinsics, skewed, atol=1e-9)
        np.testing.assert_allclose(found, pose, atol=1e-9)


@pytest.mark.parametrize("matrix", [np.zeros((3, 4)), np.ones((3, 4)), np.diag([1, 1, 0, 1])[:3], np.full((3, 4), np.nan)])
def test_what_is_no_camera_is_refused(matrix):
    with pytest.raises(InputError, match=r"projection matrix of a (is singular|holds NaN)"):
        decomposed(matrix.astype(float), "a")


# NeuS ---------------------------------------------------------------------------------------------------------------------------------


def test_matrices_that_run_code_inflate_or_are_missing_are_refused(tmp_path):
    path = idr(tmp_path) / "cameras_sphere.npz"
    whole = dict(np.load(path))
    for change, message in (
        ({"world_mat_1": np.array([{}], dtype=object)}, "Python objects"),
        ({"world_mat_1": np.zeros((100, 100))}, "too many for a 4 x 4 matrix"),
        ({"world_mat_1": np.zeros(16)}, r"must be 4 x 4 numbers, got \(16,\)"),
        ({"world_mat_9": np.eye(4)}, "lacks world_mat_5, though 1 with higher numbers"),
        ({"world_mat_5": np.eye(4)}, "holds 6 cameras world_mat_i, but there are 5 images"),
    ):
        np.savez(path, **(whole | change))
        with pytest.raises(InputError, match=message):
            read_views(tmp_path)
    np.savez(path, nothing=np.eye(4))
    with pytest.raises(InputError, match="holds no camera world_mat_0"):
        read_views(tmp_path)


def test_an_entry_that_promises_more_than_it_holds_is_refused_without_memory(tmp_path):
    path = idr(tmp_path) / "cameras_sphere.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("world_mat_0.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    with pytest.raises(InputError, match="more than the file's"):
        read_views(tmp_path)


# RGB-D --------------------------------------------------------------------------------------------------------------------------------


def test_depth_is_metres_and_lost_frames_are_left_out(tmp_path):
    rgbd(tmp_path)
    (tmp_path / "pose/000010.pose.txt").write_text("-inf " * 16)
    views = read_views(tmp_path, check=False)
    assert len(views) == COUNT - 1 and "000010.color.png" not in views.names
    assert views.depths[0][:2].max() == 0 and views.depths[0][2:].min() > 3


def test_all_files_may_lie_in_one_folder_as_in_7_scenes(tmp_path):
    rgbd(tmp_path)
    for folder in ("color", "depth", "pose"):
        for path in (tmp_path / folder).iterdir():
            shutil.move(path, tmp_path / path.name)
    views = read_views(tmp_path, check=False)
    assert len(views) == COUNT and views.depths is not None and views.names[0] == "000000.color.png"


def test_scannet_lays_out_4_x_4_intrinsics_and_smaller_depth_maps(tmp_path):
    rgbd(tmp_path)
    (tmp_path / "intrinsic").mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = np.loadtxt(tmp_path / "camera-intrinsics.txt")
    np.savetxt(tmp_path / "intrinsic/intrinsic_color.txt", matrix)
    (tmp_path / "camera-intrinsics.txt").unlink()
    for kind, suffix in (("color", "png"), ("depth", "png"), ("pose", "txt")):
        for v, path in enumerate(sorted((tmp_path / kind).iterdir())):
            shutil.move(path, path.with_name(f"{v}.{suffix}"))
    for path in (tmp_path / "depth").iterdir():
        Image.open(path).resize((32, 24), Image.Resampling.NEAREST).save(path)
    views = read_views(tmp_path, check=False)
    np.testing.assert_allclose(views.intrinsics[0], INTRINSICS)
    assert views.depths[0].shape == (48, 64) and len(views) == COUNT


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("camera-intrinsics.txt", "no intrinsics: write the 3 x 3 matrix to camera-intrinsics.txt"),
        ("color/000010.color.png", "000010.pose.txt has no image of the same name"),
        ("depth/000010.depth.png", "000010.pose.txt has no depth map of the same name"),
    ],
)
def test_what_is_missing_is_named(tmp_path, remove, message):
    (rgbd(tmp_path) / remove).unlink()
    with pytest.raises(InputError, match=message):
        read_views(tmp_path)


# Strecha, Middlebury, MVSNet ----------------------------------------------------------------------------------------------------------


def test_strechas_distortion_must_be_zero_and_images_may_be_smaller_copies(tmp_path):
    strecha(tmp_path)
    for name in names():
        Image.open(tmp_path / "images" / name).resize((32, 24), Image.Resampling.BOX).save(tmp_path / "images" / name)
    np.testing.assert_allclose(read_views(tmp_path, check=False).intrinsics[0], np.diag([0.5, 0.5, 1]) @ INTRINSICS)
    path = tmp_path / "gt_dense_cameras/000000.png.camera"
    path.write_text(path.read_text().replace("0.0 0.0 0.0\n", "0.1 0.0 0.0\n", 1))
    with pytest.raises(InputError, match=r"gives distortion \[0.1, 0.0, 0.0\]: expected 0 0 0"):
        read_views(tmp_path)


def test_middleburys_count_must_be_that_of_its_lines(tmp_path):
    path = middlebury(tmp_path) / "cornerSR_par.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match="promises 5 images, but 4 follow: it was cut short"):
        read_views(tmp_path)


def test_mvsnet_files_must_name_their_matrices(tmp_path):
    path = mvsnet(tmp_path) / "cams/000000_cam.txt"
    path.write_text(path.read_text().replace("intrinsic\n", "", 1))
    with pytest.raises(InputError, match="must hold the words 'extrinsic' and 'intrinsic'"):
        read_views(tmp_path)
