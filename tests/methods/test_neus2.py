"""neus2 on photographs of a sphere drawn ray by ray: it finds the radius, foresees views, resumes to the same bytes, needs no masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from surfrecon.checkpoints import Checkpoints
from surfrecon.errors import InputError, SurfreconError
from surfrecon.fields import Field
from surfrecon.geometry import PointCloud, Similarity
from surfrecon.methods import fitted
from surfrecon.methods.neus2 import NeuS2
from surfrecon.methods.neus2_fit import REFILL
from surfrecon.run import Run, Stop
from surfrecon.views import Views

RADIUS, DISTANCE, FOCAL, SIDE = 0.6, 3.0, 120.0, 64  # a pixel covers 4 % of the radius
QUICK = NeuS2(steps=200, rays=512, levels=5, base=8, log2_entries=13, width=32, smooth=0.01)
DIRECTIONS = PointCloud(np.random.default_rng(2).normal(size=(14, 3))).points
DIRECTIONS = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)


class Ball(Field):
    """A sphere about the origin."""

    resolution = 32

    def __init__(self, radius: float):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        return x.norm(dim=1) - self.radius

    def value_and_gradient(self, x):
        return self(x), torch.nn.functional.normalize(x, dim=1)


def drawn(directions: np.ndarray, *, wall: bool = False) -> Views:
    """The sphere, painted in waves, from so many sides; before black or a painted sky."""
    intrinsics = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1.0]])
    poses = []
    for away in directions:
        right = np.cross([0.3, 1.0, 0.2], -away)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(-away, right), -away])
        poses.append(np.column_stack([rotation, -rotation @ (DISTANCE * away)]))
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    cameras = Views([blank] * len(poses), np.tile(intrinsics, (len(poses), 1, 1)), np.stack(poses))
    images, masks = [], []
    for view in range(len(cameras)):
        origins, rays = cameras.rays(view, cameras.pixel_centres(view))
        b, c = (origins * rays).sum(1), (origins * origins).sum(1) - RADIUS**2
        inside = b * b > c
        place = origins + (-b - np.sqrt(np.where(inside, b * b - c, 0)))[:, None] * rays
        color = np.where(inside[:, None], 0.5 + 0.4 * np.sin(9 * place), (0.5 + 0.3 * np.sin(3 * rays)) * wall)
        images.append((255 * color).round().astype(np.uint8).reshape(SIDE, SIDE, 3))
        masks.append(inside.reshape(SIDE, SIDE))
    return replace(cameras, images=tuple(images), masks=None if wall else tuple(masks))


@pytest.fixture(scope="module")
def views() -> Views:
    return drawn(DIRECTIONS)


def radius_of(field: Field) -> float:
    """Of the field's zero set, along many directions, on average."""
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(5)), dim=1)
    low, high = torch.full((500,), RADIUS - 0.1), torch.full((500,), RADIUS + 0.1)
    with torch.no_grad():
        for _ in range(20):
            middle = (low + high) / 2
            outside = field(middle[:, None] * directions) > 0
            low, high = torch.where(outside, low, middle), torch.where(outside, middle, high)
    return float(low.mean())


@pytest.fixture(scope="module")
def trained(views):
    run = Run(device="cpu")
    return QUICK.fit(views, run, Ball(RADIUS + 0.015)), run


def test_radius_of_a_sphere_is_found_within_a_quarter_of_a_pixel(trained):
    assert radius_of(trained[0]) == pytest.approx(RADIUS, rel=0.01)


def test_start_too_small_or_without_masks_ends_at_the_radius_as_well(views):
    assert radius_of(QUICK.fit(views, Run(device="cpu"), Ball(RADIUS - 0.015))) == pytest.approx(RADIUS, rel=0.01)
    unmasked = QUICK.fit(drawn(DIRECTIONS, wall=True), Run(device="cpu"), Ball(RADIUS + 0.01))
    assert radius_of(unmasked) == pytest.approx(RADIUS, rel=0.01)


def test_depth_maps_tell_what_photographs_without_texture_do_not(views):
    blank = replace(drawn(DIRECTIONS, wall=True), images=tuple(np.full_like(image, 90) for image in views.images))
    depths = []
    for view, mask in enumerate(views.masks):
        origins, rays = views.rays(view, views.pixel_centres(view))
        b, c = (origins * rays).sum(1), (origins * origins).sum(1) - RADIUS**2
        along = (-b - np.sqrt(np.maximum(b * b - c, 0))) * (rays @ views.directions[view])
        depths.append(np.where(mask.ravel(), along, 0).astype(np.float32).reshape(SIDE, SIDE))
    field = QUICK.fit(replace(blank, depths=tuple(depths)), Run(device="cpu"), Ball(RADIUS - 0.03))
    assert radius_of(field) == pytest.approx(RADIUS, rel=0.01)


def test_next_frame_goes_on_from_the_one_before_in_a_fraction_of_the_steps(views, trained):
    steps, run = [], Run(device="cpu", on_step=lambda step: steps.append(step.total))
    field = replace(QUICK, following=0.25).fit(views, run, Ball(RADIUS + 0.01), trained[0])
    assert max(steps) == 50
    assert radius_of(field) == pytest.approx(RADIUS, rel=0.01)
    alone = replace(QUICK, steps=50).fit(views, Run(device="cpu"), Ball(RADIUS + 0.01))
    missed = lambda some, view: some.photograph(views, view)[views.masks[view]] / 255.0 - views.images[view][views.masks[view]] / 255.0
    error = lambda some: np.mean([np.square(missed(some, view)).mean() for view in (0, 7)])
    assert error(field) < error(alone) / 2


def test_start_that_no_photograph_shows_is_refused(views):
    away = views.transformed(Similarity(translation=[1e4, 0, 0]))
    with pytest.raises(SurfreconError, match="no photograph shows the surface"):
        QUICK.fit(replace(views, cam_from_world=away.cam_from_world), Run(device="cpu"), Ball(RADIUS))


def test_unseen_view_is_foreseen(trained):
    other = drawn(np.array([[0.36, 0.48, -0.8]]))
    seen = trained[0].photograph(other, 0)
    mask = other.masks[0]
    error = (seen[mask].astype(float) - other.images[0][mask]) / 255
    assert -10 * np.log10((error**2).mean()) > 25
    assert (seen[~mask].astype(float).mean(axis=0) < 4).all()


def test_gradient_is_that_of_the_values(trained):
    x = RADIUS * torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.no_grad():
        _, gradient = trained[0].value_and_gradient(x)
        step = 2e-3
        for axis in range(3):
            ahead, behind = x.clone(), x.clone()
            ahead[:, axis] += step
            behind[:, axis] -= step
            slope = (trained[0](ahead) - trained[0](behind)) / (2 * step)
            assert (slope - gradient[:, axis]).abs().median() < 0.02
    assert trained[0].lipschitz >= float(gradient.norm(dim=1).quantile(0.9))


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(views):
    short, start = replace(QUICK, steps=50), Ball(RADIUS + 0.015)
    one, again, other = (short.fit(views, Run(device="cpu", seed=seed), start).surface.table for seed in (0, 0, 1))
    assert torch.equal(again, one) and not torch.equal(other, one)


def test_resumed_run_ends_with_the_bytes_of_one_that_was_not_interrupted(views, trained, tmp_path):
    def stop(step):
        if step.done == REFILL + 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        QUICK.fit(views, Run(device="cpu", folder=tmp_path, on_step=stop), Ball(RADIUS + 0.015))
    run = Run(device="cpu", folder=tmp_path, resume=True)
    resumed = QUICK.fit(views, run, Ball(RADIUS + 0.015))
    assert run.facts["resumed_at"] == REFILL
    for name, tensor in trained[0].named_parameters():
        assert torch.equal(tensor, dict(resumed.named_parameters())[name]), name
    Checkpoints(run).clear()


def test_stop_gives_the_best_so_far(views):
    def stop(step):
        if step.done == REFILL + 30:
            raise Stop

    run = Run(device="cpu", on_step=stop)
    assert radius_of(QUICK.fit(views, run, Ball(RADIUS + 0.015))) == pytest.approx(RADIUS, rel=0.01)
    assert run.stopped


def test_budget_ends_the_training_and_says_so(views):
    run = Run(device="cpu", budget=1e4)

    def hurry(step):
        if (step.stage, step.done) == ("fit", 20):
            run.budget = 1e-3

    run.on_step = hurry
    QUICK.fit(views, run, Ball(RADIUS + 0.015))
    assert run.cut and any("of 200 steps" in warning for warning in run.warnings)


def test_exposures_of_photographs_do_not_move_the_surface(views):
    gains = np.random.default_rng(0).uniform(0.75, 1.25, len(views))
    uneven = replace(views, images=tuple((image * gain).clip(0, 255).astype(np.uint8) for image, gain in zip(views.images, gains)))
    field = QUICK.fit(uneven, Run(device="cpu"), Ball(RADIUS + 0.015))
    assert radius_of(field) == pytest.approx(RADIUS, rel=0.01)
    found = (field.gains - field.gains.mean(0)).mean(1).detach().numpy()
    wanted = np.log(gains) - np.log(gains).mean()
    assert np.corrcoef(found, wanted)[0, 1] > 0.9


def test_without_a_start_it_says_what_is_missing(views):
    with pytest.raises(InputError, match="surface to start from"):
        NeuS2().fit(views, Run(device="cpu"))


def test_points_known_of_the_surface_go_to_the_start_and_views_to_the_method(views):
    ball = PointCloud(RADIUS * np.random.default_rng(0).normal(size=(3000, 3)))
    ball = PointCloud(RADIUS * ball.points / np.linalg.norm(ball.points, axis=1, keepdims=True), normals=ball.points)
    field = fitted(replace(QUICK, steps=20), views, Run(device="cpu"), ball)
    assert radius_of(field) == pytest.approx(RADIUS, rel=0.02)
