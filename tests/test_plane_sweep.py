"""Depth maps against closed forms: a plane and a sphere drawn ray by ray, and scores with known peaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bow import BOW, DISTANCE, drawn, plane, sphere

from surfrecon.plane_sweep import _peak, depth_map


@pytest.mark.parametrize(("surface", "masked"), [(plane, False), (sphere, False), (sphere, True)], ids=["plane", "sphere", "sphere-masks"])
def test_depths_are_right_within_a_tenth_of_a_percent(surface, masked):
    views = drawn(BOW, surface)
    truth = views.depths[2]
    views = replace(views, masks=views.masks if masked else None, points=views.depth_points(2), depths=None)
    found = depth_map([views, views.scaled(0.5)], 2, np.array([1, 3, 0, 4]), box=views.bounds(), window=7, least_ncc=0.6)
    found = found.inverse_depth.numpy()
    known = (found > 0) & (truth > 0)
    assert known.sum() > 0.9 * (truth > 0).sum()
    assert not masked or not (found[truth == 0] > 0).any()
    error = np.abs(1 / np.where(known, found, 1) / np.where(known, truth, 1) - 1)
    assert np.median(error[known]) < 5e-4
    facing = known & ((truth < DISTANCE - 0.8) if surface is sphere else True)  # the rim leans by more than 37 degrees
    assert np.mean(error[facing]) < 1e-3


def test_peak_of_a_parabola_is_found_between_hypotheses():
    offsets = torch.arange(-3, 4) * 0.1
    scores = (0.9 - 20 * (offsets - 0.037) ** 2)[:, None, None].expand(7, 2, 3)
    w, score = _peak(scores, torch.ones(2, 3), offsets, torch.ones(2, 3), 0.5)
    torch.testing.assert_close(w, torch.full((2, 3), 1.037))
    assert (score > 0.8).all()


def test_a_second_peak_as_good_takes_the_pixel_out():
    scores = torch.full((15, 1, 2), 0.1)
    scores[3] = 0.9
    scores[11, 0, 1] = 0.89
    _, score = _peak(scores, torch.ones(1, 2), torch.arange(15) * 0.01, torch.ones(1, 2), 1.0)
    assert (score > 0).tolist() == [[True, False]]
