"""hashsdf on spheres: it betters its start, keeps it where there are no data, resumes to the same bytes, and makes solids."""

import numpy as np
import pytest
import torch

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.methods import fitted
from surfrecon.methods.gridpull import GridPull
from surfrecon.methods.hashsdf import HashSdf
from surfrecon.reconstruction import estimate, reconstruct
from surfrecon.run import Run, Stop

RADIUS = 0.7
QUICK = HashSdf(steps=60, batch=1024, levels=4)


def sphere(count: int, *, noise: float = 0.0, below: float = 2.0) -> PointCloud:
    """Points of a sphere up to a height, unit frame; noise in spacings."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions[:, 2] < below]
    spacing = PointCloud(RADIUS * directions).spacing()
    return PointCloud((RADIUS + noise * spacing * generator.normal(size=(len(directions), 1))) * directions)


def shell(count: int = 5000) -> torch.Tensor:
    """Points near the sphere."""
    generator = torch.Generator().manual_seed(3)
    x = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return x * (RADIUS + 0.02 * (torch.rand(count, 1, generator=generator) - 0.5))


def bumpy(count: int, seed: int) -> np.ndarray:
    """Points of a surface with bumps as wide as a few spacings of 3000."""
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * (RADIUS + 0.02 * np.sin(12 * directions).prod(axis=1))[:, None]


@pytest.fixture(scope="module")
def trained():
    run = Run(device="cpu")
    scan = PointCloud(bumpy(3000, 0))
    return HashSdf(steps=100, batch=2048).fit(scan, run, GridPull(finest=16).fit(scan, run)), run


def test_between_clean_points_the_surface_is_nearer_than_by_a_coarse_start(trained):
    field, run = trained
    between = torch.as_tensor(bumpy(5000, 1), dtype=torch.float32)
    with torch.no_grad():
        error, before = (float(f(between).square().mean().sqrt()) for f in (field, field.start))
    assert error < 0.6 * before
    assert {"look", "orient", "fit"} <= set(run.timings) and field.resolution > field.start.resolution


def test_gradient_is_that_of_the_values(trained):
    field, x = trained[0], shell(200)
    with torch.no_grad():
        value, gradient = field.value_and_gradient(x)
        assert torch.equal(value, field(x))
        step, differences = 1e-3, []
        for axis in torch.eye(3):
            differences.append((field(x + step * axis) - field(x - step * axis)) / (2 * step))
    off = (torch.stack(differences, dim=1) - gradient).norm(dim=1)
    assert off.median() < 0.01  # differences straddle some borders of cells, where the gradient jumps
    assert float(gradient.norm(dim=1).max()) <= 1.1 * field.lipschitz


def test_beyond_its_reach_the_field_is_the_start(trained):
    field = trained[0]
    x = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) - 1
    with torch.no_grad():
        start = field.start(x)
        far = start.abs() > 2.5 * field.scale
        assert far.sum() > 1000 and torch.equal(field(x)[far], start[far])


def test_where_nobody_scanned_the_surface_stays_that_of_the_start():
    field = fitted(QUICK, sphere(3000, below=0.5), Run(device="cpu"))
    top = torch.nn.functional.normalize(torch.tensor([[0.1, 0.0, 1.0], [-0.2, 0.1, 1.0], [0.0, 0.0, 1.0]]), dim=1)
    heights = torch.linspace(0.2, 0.95, 400)
    with torch.no_grad():
        for direction in top:
            ray = heights[:, None] * direction
            crossing = [heights[int((f(ray) > 0).int().argmax())] for f in (field, field.start)]
            assert abs(crossing[0] - crossing[1]) < 0.3 * field.scale


def test_same_seed_gives_the_same_field_and_another_does_not():
    scan = sphere(800)
    tables = [fitted(QUICK, scan, Run(device="cpu", seed=seed)).table for seed in (0, 0, 1)]
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


def test_a_fit_that_was_stopped_resumes_to_the_same_bytes(tmp_path):
    scan = sphere(800)
    whole = fitted(QUICK, scan, Run(device="cpu"))

    def stop(step):
        if (step.stage, step.done) == ("fit", 45):
            raise Stop

    run = Run(device="cpu", folder=tmp_path, on_step=stop)
    stopped = fitted(QUICK, scan, run)
    assert run.stopped and not torch.equal(stopped.table, whole.table)
    run = Run(device="cpu", folder=tmp_path, resume=True)
    resumed = fitted(QUICK, scan, run)
    assert run.facts["resumed_at"] == 40
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters()))


def test_a_stop_within_the_start_gives_the_start_so_far(tmp_path):
    seen = []

    def stop(step):
        seen.append(step.stage)
        if step.done == 1 and len({stage for stage in seen if stage.startswith("fit ")}) == 2:
            raise Stop

    run = Run(device="cpu", folder=tmp_path, on_step=stop)
    field = fitted(QUICK, sphere(3000), run)
    assert run.stopped and f"fit {field.resolution}" in seen and f"fit {2 * field.resolution}" == seen[-1]
    assert not list(tmp_path.iterdir())


def test_it_says_what_it_lacks_without_a_start():
    with pytest.raises(InputError, match=r"needs a coarse field to start from; reconstruct\(\) fits one with gridpull"):
        QUICK.fit(sphere(300), Run(device="cpu"))


def test_a_noisy_scan_becomes_a_solid_of_its_volume():
    result = reconstruct(sphere(3000, noise=0.4), QUICK, run=Run(device="cpu"))
    assert result.report.solid and result.report.components == 1 and result.report.genus == 0 and result.method == "hashsdf"
    assert result.report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)


def test_the_estimate_counts_the_start_and_the_table():
    scan, few, many = sphere(3000), HashSdf(levels=4), HashSdf(levels=16)
    assert estimate(scan, many).seconds > estimate(scan, few).seconds > estimate(scan, GridPull(**HashSdf.starts_from[1])).seconds
    more = many.foresee(scan)[1] - few.foresee(scan)[1]
    numbers = [method.network(scan.spacing(), len(scan), 1.0, 64).grid.numbers for method in (few, many)]
    assert more >= 16 * 0.8 * (numbers[1] - numbers[0])  # the table, its gradient and two moments, at least


def test_a_budget_ends_the_training_and_says_so():
    run = Run(device="cpu", budget=1e4)

    def hurry(step):
        if (step.stage, step.done) == ("fit", 20):
            run.budget = 1e-3

    run.on_step = hurry
    fitted(QUICK, sphere(800), run)
    assert run.cut and run.warnings == ["20 of 60 steps were taken: the budget of 0.001 s was used"]
