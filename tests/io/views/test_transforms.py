"""transforms.json in its dialects, and names in it that lead outside."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from scene import CORNER, COUNT, HEIGHT, INTRINSICS, WIDTH, cameras, dot, middle, names, pixel, transforms
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_views, write_scan


def changed(folder, change) -> None:
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_field_of_view_gives_focal_lengths_and_the_middle_is_the_centre(tmp_path):
    transforms(tmp_path)
    changed(tmp_path, lambda c: [c.pop(key) for key in ("w", "h", "fl_x", "fl_y", "cx", "cy")])
    changed(tmp_path, lambda c: c.update(camera_angle_x=2 * np.arctan(WIDTH / 2 / 70.0)))
    expected = [[70, 0, WIDTH / 2], [0, 70, HEIGHT / 2], [0, 0, 1]]
    np.testing.assert_allclose(read_views(tmp_path, check=False).intrinsics, [expected] * COUNT)


def test_a_frame_may_have_intrinsics_of_its_own(tmp_path):
    transforms(tmp_path)
    changed(tmp_path, lambda c: c["frames"][1].update(fl_x=55.0, cx=30.0))
    intrinsics = read_views(tmp_path, check=False).intrinsics
    np.testing.assert_array_equal(intrinsics[1], [[55, 0, 30], [0, 72, 22.6], [0, 0, 1]])
    np.testing.assert_array_equal(intrinsics[[0, 2, 3, 4]], [INTRINSICS] * 4)


def test_nerfs_own_files_are_read(tmp_path):
    transforms(tmp_path)
    changed(tmp_path, lambda c: [frame.update(file_path=frame["file_path"].removesuffix(".png")) for frame in c["frames"]])
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    assert read_views(tmp_path, check=False).names == tuple(names())


def test_applied_transform_and_scale_are_undone(tmp_path):
    turn, shift, scale = Rotation.from_rotvec([0.3, -1.2, 0.4]).as_matrix(), np.array([3.0, -4, 5]), 0.37
    transforms(tmp_path, applied_transform=np.column_stack([turn, shift]).tolist(), applied_scale=scale)

    def apply(content):
        for frame in content["frames"]:
            matrix = np.array(frame["transform_matrix"])
            matrix[:3, :3] = turn @ matrix[:3, :3]
            matrix[:3, 3] = scale * (turn @ matrix[:3, 3] + shift)
            frame["transform_matrix"] = matrix.tolist()
        content["ply_file_path"] = "points.ply"

    changed(tmp_path, apply)
    write_scan(PointCloud(scale * (np.array([CORNER, CORNER + 1]) @ turn.T + shift)), tmp_path / "points.ply")
    views = read_views(tmp_path, check=False)
    np.testing.assert_allclose(views.cam_from_world, cameras()[:, :3], atol=1e-12)
    np.testing.assert_allclose(views.points, [CORNER, CORNER + 1], atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "lens"),
    [
        (dict(camera_model="OPENCV", k1=0.2, k2=-0.1, p1=0.03, p2=-0.02), "brown"),
        (dict(k1=0.2, k2=-0.1, p1=0.03, p2=-0.02), "brown"),
        (dict(camera_model="OPENCV_FISHEYE", k1=-0.3, k2=-0.05, k3=0.02, k4=0.01), "fisheye"),
        (dict(is_fisheye=True, k1=-0.3, k2=-0.05, k3=0.02, k4=0.01), "fisheye"),
    ],
    ids=["OPENCV", "no model", "OPENCV_FISHEYE", "is_fisheye"],
)
def test_distortion_is_undone(tmp_path, keys, lens):
    transforms(tmp_path, **keys)
    for name, pose in zip(names(), cameras()):
        x, y, z = pose[:3, :3] @ CORNER + pose[:3, 3]
        x, y = x / z, y / z
        r2 = x * x + y * y
        if lens == "brown":
            factor = 1 + 0.2 * r2 - 0.1 * r2**2
            x, y = x * factor + 0.06 * x * y - 0.02 * (r2 + 2 * x * x), y * factor + 0.03 * (r2 + 2 * y * y) - 0.04 * x * y
        else:
            r, t = np.sqrt(r2), np.arctan(np.sqrt(r2))
            bent = t * (1 - 0.3 * t**2 - 0.05 * t**4 + 0.02 * t**6 + 0.01 * t**8)
            x, y = x * bent / r, y * bent / r
        Image.fromarray(dot(np.array([70 * x + 33.3, 72 * y + 22.6]))).save(tmp_path / "images" / name)
    views = read_views(tmp_path, check=False)
    for v in range(COUNT):
        assert np.abs(views.project(v, CORNER[None])[0][0] - middle(views.images[v])).max() < 0.1


def test_masks_and_depth_maps_that_frames_name(tmp_path):
    transforms(tmp_path)
    mask = dot(pixel(INTRINSICS, cameras()[0])) > 50
    Image.fromarray(mask).save(tmp_path / "bright.png")
    depth = np.full((HEIGHT // 2, WIDTH // 2), 1500, np.uint16)
    depth[0], depth[1] = 0, 65535
    Image.fromarray(depth).save(tmp_path / "depth.png")
    changed(tmp_path, lambda c: [frame.update(mask_path="bright.png", depth_file_path="depth.png") for frame in c["frames"]])
    views = read_views(tmp_path, check=False)
    assert all((found == mask).all() for found in views.masks)
    assert (views.depths[0][:4] == 0).all() and (views.depths[0][4:] == np.float32(1.5)).all() and views.depths[0].shape == (HEIGHT, WIDTH)
    np.save(tmp_path / "depth.npy", depth)
    changed(tmp_path, lambda c: [frame.update(depth_file_path="depth.npy") for frame in c["frames"]])
    changed(tmp_path, lambda c: c.update(integer_depth_scale=0.01))
    assert (read_views(tmp_path, check=False).depths[0][4:] == np.float32(15)).all()


def test_masks_for_some_frames_alone_are_refused(tmp_path):
    transforms(tmp_path)
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "m.png")
    changed(tmp_path, lambda c: c["frames"][0].update(mask_path="m.png"))
    with pytest.raises(InputError, match=r"names masks for 1 of its 5 images, but none for 000010.png"):
        read_views(tmp_path)


# names that lead outside --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["file_path", "mask_path", "depth_file_path"])
@pytest.mark.parametrize("name", ["../secret.png", "images/../../secret.png", "{absolute}", "..\\secret.png", "C:\\secret.png", "a\0b"])
def test_names_that_lead_outside_are_refused(tmp_path, key, name):
    folder = transforms(tmp_path / "scene")
    secret = tmp_path / "secret.png"
    Image.new("L", (WIDTH, HEIGHT), 255).save(secret)
    changed(folder, lambda c: [frame.update({key: name.replace("{absolute}", str(secret))}) for frame in c["frames"]])
    with pytest.raises(InputError, match="which isn't a path inside its own folder"):
        read_views(folder)


@pytest.mark.skipif(os.name == "nt", reason="making symbolic links needs a privilege on Windows")
def test_symbolic_links_that_lead_outside_are_refused_and_those_within_are_not(tmp_path):
    folder = transforms(tmp_path / "scene")
    (tmp_path / "secret.png").write_bytes((folder / "images/000000.png").read_bytes())
    link = folder / "images/000000.png"
    link.rename(folder / "moved.png")
    link.symlink_to("../moved.png")
    assert len(read_views(folder, check=False)) == COUNT
    link.unlink()
    link.symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="a symbolic link leads outside"):
        read_views(folder)


# what can't be right ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(frames=[]), "must be an object with a list 'frames'"),
        (lambda c: c.update(frames=[3]), "must be an object with a list 'frames'"),
        (lambda c: c.update(fl_x="70"), "fl_x must be a finite number, got '70'"),
        (lambda c: c.update(fl_x=float("nan")), "fl_x must be a finite number, got 'nan'"),
        (lambda c: c.update(fl_x=True), "fl_x must be a finite number, got 'True'"),
        (lambda c: c.update(fl_x=-70.0), "fx, fy > 0"),
        (lambda c: [c.pop("fl_x"), c.pop("fl_y")], "has no focal length: expected fl_x, camera_angle_x or intrinsic_matrix"),
        (lambda c: [c.pop("fl_x"), c.update(camera_angle_x=40)], "camera_angle_x must be an angle in radians between 0 and pi, got 40"),
        (lambda c: c.update(w=-64), "w and h of 000000.png must be whole numbers of pixels > 0"),
        (lambda c: c.update(camera_model="EQUIRECTANGULAR"), "camera_model of 000000.png is 'EQUIRECTANGULAR'; known are"),
        (lambda c: c.update(applied_scale=0), "applied_scale must be > 0"),
        (lambda c: c.update(applied_transform=np.diag([1, 1, -1, 1.0]).tolist()), "applied_transform must turn, move and scale"),
        (
            lambda c: c["frames"][0].pop("transform_matrix"),
            "transform_matrix of 000000.png must be rows of 3 x 4 or 4 x 4",
        ),
        (lambda c: c["frames"][0].update(transform_matrix=[[1]]), "must be rows of 3 x 4 or 4 x 4 numbers"),
        (lambda c: c["frames"][0].pop("file_path"), "file_path must be the name of a file, got 'None'"),
        (lambda c: c["frames"][0].update(file_path="images/none.png"), "it names the image 'images/none.png', which is neither in"),
    ],
)
def test_contents_that_cannot_be_say_what_is_wrong(tmp_path, change, message):
    transforms(tmp_path)
    changed(tmp_path, change)
    with pytest.raises(InputError, match=message):
        read_views(tmp_path, check=False)


def test_json_of_deep_lists_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "transforms.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="damaged or no camera file"):
        read_views(tmp_path)
