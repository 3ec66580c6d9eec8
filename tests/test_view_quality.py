"""What reports say of reconstructions from photographs, on an ellipsoid whose outlines are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from PIL import Image
from solids import ball

from surfrecon.errors import InputError
from surfrecon.view_quality import assess, bad_views, compared, comparison, silhouette_iou


@pytest.fixture(scope="module")
def views():
    return replace(ellipsoid(12), depths=None)


def test_iou_of_the_true_mesh_is_nearly_one_and_of_larger_ones_the_ratio_of_areas(views):
    assert silhouette_iou(ball(AXES, CENTRE), views).min() > 0.99
    for factor in (0.9, 1.1):
        ratio = min(factor, 1 / factor) ** 2
        assert np.abs(silhouette_iou(ball(factor * AXES, CENTRE), views) - ratio).max() < 0.02  # perspective, and pixels of the rim


def test_an_empty_mask_says_nothing_and_no_mask_is_refused(views):
    masks = [mask.copy() for mask in views.masks]
    masks[3][:] = False
    found = silhouette_iou(ball(AXES, CENTRE), replace(views, masks=tuple(masks)))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3]
    with pytest.raises(InputError, match="no masks"):
        silhouette_iou(ball(AXES, CENTRE), replace(views, masks=None))


def test_views_far_below_the_median_are_named_with_their_figures():
    iou = np.array([0.98, 0.97, 0.985, 0.62, np.nan, 0.975, 0.98])
    named = bad_views([f"view {v}" for v in range(7)], iou=iou)
    assert [bad.view for bad in named] == [3]
    assert named[0].says == "the mesh doesn't fit the mask of view 3: IoU 0.620 where the median is 0.978"
    assert not bad_views([f"view {v}" for v in range(3)], iou=np.array([0.99999, 0.99999, 0.99998]))
    assert not bad_views(["view 0"], iou=np.array([np.nan]))


def test_assessment_names_the_camera_that_is_off(views):
    poses = views.cam_from_world.copy()
    turn = np.radians(2.0)
    poses[7] = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]) @ poses[7]
    mesh = ball(AXES, CENTRE)
    told = assess(mesh, replace(views, cam_from_world=poses))
    assert len(told["bad_views"]) == 2 and all("view 7" in says for says in told["bad_views"])
    assert told["bad_views"][0].startswith("view 7 disagrees with its neighbours: NCC ")
    assert told["silhouettes"]["lowest_view"] == told["photo_consistency"]["lowest_view"] == "view 7"
    clean = assess(mesh, views)
    assert clean["bad_views"] == [] and clean["photo_consistency"]["ncc"] > 0.9 and clean["silhouettes"]["iou"] > 0.99
    json.dumps([told, clean], allow_nan=False)


def test_assessment_of_held_out_views_counts_within_their_masks(views):
    held = views[[0, 1]]
    renderings = [np.where(mask[:, :, None], image, np.uint8(255)) for image, mask in zip(held.images, held.masks)]
    told = assess(ball(AXES, CENTRE), views[2:], held_out=held, renderings=renderings)["held_out"]
    assert told["views"] == 2 and told["psnr"] == 100.0
    darker = [(image * 0.9).astype(np.uint8) for image in held.images]
    worse = compared(held, darker)
    assert 20 < worse["psnr"] < 40 and worse["lowest_psnr"] <= worse["psnr"] and 0.9 < worse["ssim"] < 1
    assert assess(ball(AXES, CENTRE), replace(views, masks=None))["silhouettes"] is None


def test_one_view_alone_is_assessed_by_its_outline(views):
    told = assess(ball(AXES, CENTRE), views[[0]])
    assert told["photo_consistency"] is None and told["silhouettes"]["iou"] > 0.99


def test_renderings_of_another_number_are_refused(views):
    with pytest.raises(InputError, match="one for each view"):
        compared(views, views.images[:3])


def test_comparison_puts_three_pictures_a_row(views, tmp_path):
    renderings = [image.copy() for image in views.images]
    renderings[0][40:80, 60:100] = 255
    comparison(views, renderings, tmp_path / "beside.png", most=3)
    sheet = np.asarray(Image.open(tmp_path / "beside.png"))
    strip = 18
    assert sheet.shape == (3 * (120 + strip), 3 * 160, 3)
    difference = sheet[strip : 120 + strip, 320:].astype(int)
    assert difference[60, 80].sum() > difference[100, 20].sum() + 200  # yellow on violet
    np.testing.assert_array_equal(sheet[strip : 120 + strip, :160], views.images[0])
    with pytest.raises(InputError, match="its photograph"):
        comparison(views, [image[:50] for image in renderings], tmp_path / "beside.png")
