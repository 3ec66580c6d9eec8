"""GridPull on spheres: its field is their distance; its fineness follows the points; the published form closes them too."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from surfrecon.extract import marching_cubes
from surfrecon.fields import Field
from surfrecon.geometry import PointCloud
from surfrecon.methods.gridpull import CLEAN_GAIN, GridPull
from surfrecon.repair import inspect
from surfrecon.run import Run, Stop

RADIUS = 0.7
ANYWHERE = np.random.default_rng(7).uniform(-1, 1, (10_000, 3))
DISTANCE = np.linalg.norm(ANYWHERE, axis=1) - RADIUS


def sphere(count: int, *, noise: float = 0.0) -> tuple[PointCloud, float]:
    """A scan in the unit frame with its true normals as such, and its spacing; noise in spacings."""
    generator = np.random.default_rng(0)
    normals = generator.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    spacing = PointCloud(RADIUS * normals).spacing()
    return PointCloud((RADIUS + noise * spacing * generator.normal(size=(count, 1))) * normals, normals=normals), spacing


def bare(count: int, *, noise: float = 0.0) -> PointCloud:
    return PointCloud(sphere(count, noise=noise)[0].points)


def fitted(scan: PointCloud, **settings) -> tuple[Field, Run]:
    run = Run(device="cpu")
    return GridPull(**settings).fit(scan, run), run


def values(field: Field) -> np.ndarray:
    with torch.no_grad():
        return field(torch.as_tensor(ANYWHERE, dtype=torch.float32)).numpy()


@pytest.fixture(scope="module")
def ball() -> tuple[Field, Run]:
    return fitted(bare(1500))


def test_field_of_a_sphere_is_its_distance_near_the_surface(ball):
    spacing = sphere(1500)[1]
    near = np.abs(DISTANCE) < 2 * spacing
    error = (values(ball[0]) - DISTANCE)[near]
    assert near.sum() > 500 and np.abs(error).max() < 0.2 * spacing and np.sqrt((error**2).mean()) < 0.05 * spacing


def test_gradient_near_the_surface_is_the_unit_normal(ball):
    near = ANYWHERE[np.abs(DISTANCE) < 2 * sphere(1500)[1]]
    gradient = ball[0].value_and_gradient(torch.as_tensor(near, dtype=torch.float32))[1].numpy()
    normals = near / np.linalg.norm(near, axis=1, keepdims=True)
    miss = np.linalg.norm(gradient - normals, axis=1)
    assert miss.max() < 0.3 and np.sqrt((miss**2).mean()) < 0.05


def test_field_is_negative_inside_and_positive_outside_in_the_whole_box(ball):
    sure = np.abs(DISTANCE) > 0.1 * sphere(1500)[1]
    assert np.array_equal(values(ball[0])[sure] < 0, DISTANCE[sure] < 0)


def test_slopes_at_the_points_stay_below_the_fields_lipschitz_bound(ball):
    x = torch.tensor(bare(1500).points, dtype=torch.float32)
    value, gradient = ball[0].value_and_gradient(x)
    assert gradient.norm(dim=1).max() <= 1.01 * ball[0].lipschitz < 1.3
    assert value.abs().max() < 0.02 * sphere(1500)[1]


@pytest.mark.parametrize(("count", "noise"), [(200, 0.0), (800, 0.0), (800, 0.5)])
def test_finest_level_follows_spacing_and_noise_and_levels_double(count, noise):
    field, run = fitted(bare(count, noise=noise))
    wanted = (1 if noise else CLEAN_GAIN) * 2 / bare(count, noise=noise).spacing()
    assert abs(math.log2(field.resolution / wanted)) <= 0.5
    levels = [int(name.removeprefix("fit ")) for name in run.timings if name.startswith("fit ")]
    assert levels[-1] == field.resolution and all(fine == 2 * coarse for coarse, fine in pairwise(levels))


def test_finest_can_be_asked_for():
    assert fitted(bare(200), finest=48)[0].resolution == 48


def test_noise_of_half_a_spacing_is_smoothed_to_a_quarter_and_reported():
    scan, spacing = sphere(1500, noise=0.5)
    field, run = fitted(PointCloud(scan.points))
    clean = bare(1500).points
    residual = field(torch.tensor(clean, dtype=torch.float32)).numpy()
    assert np.sqrt((residual**2).mean()) < 0.25 * spacing
    assert run.facts["noise_unit"] == pytest.approx(0.5 * spacing, rel=0.5)  # the field follows part of the noise


def test_sparse_sphere_with_normals_is_met_within_a_sixth_of_its_spacing():
    scan, spacing = sphere(100)
    field, run = fitted(scan)
    assert run.facts["sides_from"] == "the scan's normals"
    true = RADIUS * ANYWHERE / np.linalg.norm(ANYWHERE, axis=1, keepdims=True)
    assert np.abs(field(torch.as_tensor(true, dtype=torch.float32)).numpy()).max() < spacing / 6


def test_outliers_are_counted_and_left_out(ball):
    clean = bare(1500)
    stray = np.random.default_rng(1).uniform(-0.95, 0.95, (40, 3))
    far = np.abs(np.linalg.norm(stray, axis=1) - RADIUS) > 4 * clean.spacing()
    field, run = fitted(PointCloud(np.concatenate([clean.points, stray])))
    assert far.sum() <= run.facts["outliers"] <= 40
    sure = np.abs(DISTANCE) > clean.spacing()
    assert np.array_equal(values(field)[sure] < 0, DISTANCE[sure] < 0)
    assert ball[1].facts["outliers"] == 0


@pytest.mark.parametrize("preset", GridPull.PRESETS)
def test_presets_are_settings_that_differ_from_the_defaults(preset):
    changes = GridPull.PRESETS[preset]
    chosen = GridPull(**changes)
    assert all(getattr(chosen, name) == value != getattr(GridPull(), name) for name, value in changes.items())


@pytest.mark.parametrize("preset", ["fast", "balanced", "fine"])
def test_presets_close_a_sphere_of_its_volume(preset):
    field, _ = fitted(bare(300), **GridPull.PRESETS[preset])
    report = inspect(marching_cubes(field, resolution=field.resolution, run=Run(device="cpu")))
    assert report.solid and (report.components, report.genus) == (1, 0)
    # Chords of the mesh lie inside: their step is a tenth of the radius at the coarsest.
    assert report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)


# a budget of time ---------------------------------------------------------------------------------------------------------------------


def test_a_tiny_budget_gives_a_coarser_closed_surface_and_says_so():
    scan = bare(12_000)
    run = Run(device="cpu", budget=0.01)
    field = GridPull().fit(scan, run)
    assert run.cut and run.facts["thinned_to"] <= 3000
    assert "of 12,000 points: the budget of 0.01 s was used" in run.warnings[0]
    report = inspect(marching_cubes(field, resolution=field.resolution, run=Run(device="cpu")))
    assert report.solid and report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)


def test_levels_stop_where_the_next_one_does_not_fit(monkeypatch):
    monkeypatch.setattr("surfrecon.methods.gridpull_fit.LEAST_CELLS", 32)
    run = Run(device="cpu", budget=0.01)
    field = GridPull(finest=128).fit(bare(1500), run)
    assert field.resolution == 32 and run.warnings == ["stopped at 32 of 128 cells: the budget of 0.01 s was used"]
    assert [name for name in run.timings if name.startswith("fit")] == ["fit 16", "fit 32"]


def test_rounds_of_a_level_stop_when_time_runs_out_within_it(monkeypatch):
    monkeypatch.setattr("surfrecon.methods.gridpull_fit.LEAST_CELLS", 16)
    run = Run(device="cpu", budget=1e4)

    def hurry(step):
        if (step.stage, step.done) == ("fit 32", 1):
            run.budget = 1e-3

    run.on_step = hurry
    field = GridPull(finest=64).fit(bare(1500), run)
    assert field.resolution == 32
    assert [warning.partition(":")[0] for warning in run.warnings] == ["1 of 3 rounds at 32 cells", "stopped at 32 of 64 cells"]


def test_a_budget_that_suffices_changes_nothing(ball):
    run = Run(device="cpu", budget=1e4)
    field = GridPull().fit(bare(1500), run)
    assert not run.cut and run.warnings == ball[1].warnings
    assert all(torch.equal(a.coefficients, b.coefficients) for a, b in zip(field.levels, ball[0].levels, strict=True))


def test_more_points_than_the_grid_can_tell_apart_are_thinned(monkeypatch):
    monkeypatch.setattr("surfrecon.survey.ENOUGH", 3000)
    field, run = fitted(bare(12_000, noise=1.0))
    assert 1000 < run.facts["thinned_to"] <= 3000 and not run.warnings
    spacing = sphere(3000)[1]
    sure = np.abs(DISTANCE) > 0.5 * spacing
    assert np.array_equal(values(field)[sure] < 0, DISTANCE[sure] < 0)


# as published ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> tuple[Field, Run]:
    return fitted(bare(600), **GridPull.PRESETS["paper"], steps=200, queries=5000)


def test_published_form_closes_a_sphere_of_its_volume(published):
    field, _ = published
    mesh = marching_cubes(field, resolution=field.resolution, run=Run(device="cpu"))
    report = inspect(mesh)
    assert report.solid and (report.components, report.genus) == (1, 0)
    assert report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)
    spacing = sphere(600)[1]
    miss = np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS)
    assert miss.max() < spacing and np.median(miss) < 0.1 * spacing


def test_published_form_is_negative_inside_to_the_middle_and_positive_to_the_corners(published):
    sure = np.abs(DISTANCE) > sphere(600)[1]
    assert np.array_equal(values(published[0])[sure] < 0, DISTANCE[sure] < 0)


def test_published_grid_is_as_fine_as_the_points_or_as_asked():
    settings = GridPull.PRESETS["paper"] | {"steps": 1, "queries": 100}
    assert fitted(bare(600), **settings)[0].cells == round(2 / sphere(600)[1])
    assert fitted(bare(600), finest=24, **settings)[0].cells == 24


def test_published_form_repeats_with_its_seed_and_tells_every_step():
    steps = []
    settings = GridPull(objective="paper", steps=5, queries=500)
    first = settings.fit(bare(300), Run(device="cpu", seed=1, on_step=steps.append)).values
    second, other = (settings.fit(bare(300), Run(device="cpu", seed=seed)).values for seed in (1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    fit = [step for step in steps if step.total]
    assert [step.done for step in fit] == [1, 2, 3, 4, 5] and all(np.isfinite(step.facts["loss"]) for step in fit)


def test_a_fit_stopped_within_a_level_gives_the_levels_before_and_resumes_to_the_same_bytes(tmp_path):
    scan = bare(1500)
    whole = fitted(scan, finest=64)[0]

    def stop(step):
        if (step.stage, step.done) == ("fit 64", 1):
            raise Stop

    run = Run(device="cpu", folder=tmp_path, on_step=stop)
    stopped = GridPull(finest=64).fit(scan, run)
    assert run.stopped and [level.resolution for level in stopped.levels] == [16, 32] and stopped.resolution == 32
    assert inspect(marching_cubes(stopped, resolution=32, run=Run(device="cpu"))).solid
    run = Run(device="cpu", folder=tmp_path, resume=True)
    resumed = GridPull(finest=64).fit(scan, run)
    assert run.facts["resumed_at"] == 32 and "fit 16" not in run.timings
    assert [level.resolution for level in resumed.levels] == [level.resolution for level in whole.levels]
    assert all(torch.equal(a.coefficients, b.coefficients) for a, b in zip(resumed.levels, whole.levels))


def test_noise_on_one_side_leaves_the_ripples_of_the_other():
    """Smoothing by the noise of the whole would take a thirtieth of a spacing off them."""
    normals = sphere(12_000)[0].normals
    ripple = lambda at: RADIUS * (1 + 0.02 * np.sin(25 * at[:, 1]))[:, None]
    spacing = PointCloud(RADIUS * normals).spacing()
    height = 0.6 * spacing * np.random.default_rng(5).normal(size=(len(normals), 1))
    clean = ripple(normals) * normals
    field, _ = fitted(PointCloud(clean + np.where(normals[:, :1] < 0, height, 0) * normals))
    miss = field(torch.tensor(clean[normals[:, 0] > 0.5], dtype=torch.float32)).abs().mean()
    assert miss < 0.01 * spacing
