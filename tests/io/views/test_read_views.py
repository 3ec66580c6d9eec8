"""The same cameras in every format are the same Views; whatever is damaged is refused in one sentence."""

import json
import logging

import numpy as np
import pytest
from PIL import Image
from scene import CORNER, COUNT, HEIGHT, INTRINSICS, WIDTH, WRITERS, cameras, colmap_text, dot, idr, middle, names, pixel, transforms

from surfrecon.errors import InputError
from surfrecon.io import read_views
from surfrecon.views import Views


def small(path, **options) -> Views:
    """Read without a check of poses: dots have no keypoints."""
    return read_views(path, check=False, **options)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_every_format_gives_the_same_cameras(tmp_path, write):
    views = small(write(tmp_path))
    np.testing.assert_allclose(views.cam_from_world, cameras()[:, :3], atol=1e-12)
    np.testing.assert_allclose(views.intrinsics, np.tile(INTRINSICS, (COUNT, 1, 1)), atol=1e-10)
    assert [name.split(".")[0] for name in views.names] == [name.split(".")[0] for name in names()]
    assert views.sizes.tolist() == [[WIDTH, HEIGHT]] * COUNT


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_a_known_corner_projects_to_where_the_image_shows_it(tmp_path, write):
    views = small(write(tmp_path))
    for v in range(COUNT):
        at, depth = views.project(v, CORNER[None])
        assert np.abs(at[0] - middle(views.images[v])).max() < 0.02  # a half pixel's shift, a swapped axis or image would show
        assert 3 < depth[0] < 5


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_cut_or_damaged_camera_files_are_refused_or_give_views(tmp_path, write):
    write(tmp_path)
    rng = np.random.default_rng(0)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png")[:3]:
        whole = path.read_bytes()
        cuts = [whole[:at] for at in range(0, len(whole), max(1, len(whole) // 40))]
        for copy in [*cuts, *(damaged(whole, rng) for _ in range(40))]:
            path.write_bytes(copy)
            try:
                small(tmp_path)
            except InputError as error:
                assert str(error).startswith(f"{tmp_path}: ") and "\n" not in str(error)
        path.write_bytes(whole)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    copy = bytearray(data)
    match int(rng.integers(3)):
        case 0:
            copy[at] = int(rng.choice(list(b'0123456789-+.e," \n{}[]xnaN')))
        case 1:
            copy[at : at + 8] = (2 ** int(rng.integers(64))).to_bytes(8, "little")
        case _:
            del copy[at : at + int(rng.integers(1, 30))]
    return bytes(copy)


# what a folder may hold ---------------------------------------------------------------------------------------------------------------


def test_the_log_tells_which_format_was_read_and_what_was_left_aside(tmp_path, caplog):
    transforms(tmp_path)
    colmap_text(tmp_path)
    with caplog.at_level(logging.INFO, "surfrecon"):
        small(tmp_path)
    assert "transforms.json: 5 images with poses" in caplog.text and f"{tmp_path / 'sparse/0'} left aside" in caplog.text
    assert small(tmp_path / "sparse/0").points is not None and small(tmp_path / "sparse/0/images.txt").points is not None


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")], ids=["missing", "empty", "other file"])
def test_what_holds_no_cameras_is_refused(tmp_path, make):
    make(tmp_path / "photos")
    with pytest.raises(InputError, match=r"photos: (there is no such file or folder|there are no cameras that we can read)"):
        read_views(tmp_path / "photos")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([1, 1, -1, 1], "mirrors the scene"),
        ([2, 2, 2, 1], "stretches by"),
        ([1, 1, 1, np.nan], "transform_matrix of 000000.png must be finite"),
    ],
)
def test_a_pose_that_mirrors_stretches_or_is_nan_is_refused(tmp_path, change, words):
    path = transforms(tmp_path)
    content = json.loads((path / "transforms.json").read_text())
    content["frames"][0]["transform_matrix"] = (np.array(content["frames"][0]["transform_matrix"]) * change).tolist()
    (path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read_views(path)


# masks --------------------------------------------------------------------------------------------------------------------------------


def write_masks(folder, called) -> list[np.ndarray]:
    """Where the dots are bright."""
    folder.mkdir()
    masks = [dot(pixel(INTRINSICS, pose)) > 100 for pose in cameras()]
    for mask, name in zip(masks, called):
        Image.fromarray(mask).save(folder / name)
    return masks


@pytest.mark.parametrize(
    "called",
    [
        names(),
        [f"{name}.png" for name in names()],
        [name.replace(".png", "_mask.png") for name in names()],
        [f"m{10 * v}.png" for v in range(COUNT)],
    ],
    ids=["same name", "COLMAP's", "_mask", "same number"],
)
@pytest.mark.parametrize("found", [True, False], ids=["beside the images", "given"])
def test_masks_are_matched_by_name_or_number(tmp_path, called, found):
    path = idr(tmp_path / "scene")
    folder = path / "mask" if found else tmp_path / "elsewhere"
    masks = write_masks(folder, called)
    views = small(path, **({} if found else {"masks": folder}))
    assert all((mine == theirs).all() for mine, theirs in zip(views.masks, masks))


def test_masks_come_from_transparency_and_hide_nothing_where_all_is_opaque(tmp_path):
    path = idr(tmp_path)
    for v, pose in enumerate(cameras()):
        grey = dot(pixel(INTRINSICS, pose))
        Image.fromarray(np.dstack([grey, grey, grey, np.where(grey > 100, 255, 0).astype(np.uint8)])).save(path / "image" / names()[v])
    views = small(path)
    assert all((mask == (dot(pixel(INTRINSICS, pose)) > 100)).all() for mask, pose in zip(views.masks, cameras()))
    assert (views.images[0][:, :, 0] == dot(pixel(INTRINSICS, cameras()[0]))).all()  # colours under transparent pixels stay
    for name in names():
        Image.open(path / "image" / name).convert("RGB").convert("RGBA").save(path / "image" / name)
    assert small(path).masks is None


def test_masks_that_lack_one_or_differ_in_size_are_refused(tmp_path):
    path = idr(tmp_path / "scene")
    write_masks(tmp_path / "masks", [f"{name}x.png" for name in "abcde"])
    with pytest.raises(InputError, match=r"there is no mask for 000000.png in .*masks: expected 000000.png"):
        small(path, masks=tmp_path / "masks")
    write_masks(path / "mask", names())
    Image.new("L", (10, 10)).save(path / "mask" / names()[1])
    with pytest.raises(InputError, match=r"the mask 000010.png is 10 x 10 pixels, but 000010.png is 64 x 48"):
        small(path)
    with pytest.raises(InputError, match=r"folder of masks .* does not exist"):
        small(path, masks=tmp_path / "nowhere")


# sizes --------------------------------------------------------------------------------------------------------------------------------


def test_images_smaller_than_calibrated_get_their_own_intrinsics(tmp_path):
    path = transforms(tmp_path, w=2 * WIDTH, h=2 * HEIGHT, fl_x=140.0, fl_y=144.0, cx=66.6, cy=45.2)
    np.testing.assert_allclose(small(path).intrinsics[0], INTRINSICS)


def test_images_of_another_shape_than_calibrated_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"the calibrated image is 64 x 64 pixels, but 000000.png is 64 x 48, which is no scaled copy"):
        small(transforms(tmp_path, h=64))


def test_longest_side_scales_images_and_cameras_alike(tmp_path):
    views = small(transforms(tmp_path), longest_side=32)
    assert views.sizes.tolist() == [[32, 24]] * COUNT
    for v in range(COUNT):
        assert np.abs(views.project(v, CORNER[None])[0][0] - middle(views.images[v])).max() < 0.02
    assert (small(tmp_path, longest_side=1000).sizes == [WIDTH, HEIGHT]).all()
    with pytest.raises(InputError, match="longest_side must be at least 1"):
        small(tmp_path, longest_side=0)
