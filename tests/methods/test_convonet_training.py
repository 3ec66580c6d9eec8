"""surfrecon.methods.convonet_training: what a network is shown, and that it learns from it."""

import numpy as np
import pytest
import torch

from surfrecon.data_tools.shapes import box, sphere
from surfrecon.data_tools.training_shapes import record_of
from surfrecon.methods.convonet_training import (
    Batches,
    Lessons,
    batch_of,
    density,
    learn,
    loss_of,
    next_to_surface,
    scanned,
)
from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.processes import Processes
from surfrecon.run import Run
from surfrecon.shape_set import ShapeSet, write_shapes

OBJECT = Layout(cells=8, grid=8, depth=2, planes=1, finer=2, plane=4, plane_depth=2, width=16, blocks=2, decoder=16, neighbours=6)
SCENE = Layout(cells=16, grid=8, depth=2, planes=0, width=16, blocks=2, decoder=16, neighbours=6, places=False)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("shapes") / "set", np.random.default_rng(0)
    solids = [sphere(1.0), box([1.0, 0.7, 0.5]), sphere(0.5) | box([0.4, 0.4, 2.0])]
    write_shapes(folder, (record_of(solid, 0, rng, 32) for solid in solids), ["simple"])
    return ShapeSet.read(folder)


def test_a_step_shows_the_same_whenever_it_is_asked_for(shapes):
    lessons = Lessons(batch=2, places=64)
    one, other = (Batches(shapes, lessons, OBJECT, seed=1) for _ in range(2))
    one(0), one(1)
    for a, b in zip(one(2), other(2)):
        assert all(torch.equal(x, y) for x, y in zip(a, b))


def test_processes_and_steps_see_batches_of_their_own(shapes):
    lessons = Lessons(batch=2, places=64)
    seen = [Batches(shapes, lessons, OBJECT, seed=1, rank=rank)(step).places for rank, step in ((0, 0), (1, 0), (0, 1))]
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("layout", [OBJECT, SCENE], ids=["object", "scene"])
def test_places_keep_their_side_in_the_cells_of_a_network(shapes, layout):
    """Those that the network is asked about beside the points: inside there, as the shape has it."""
    rng, lessons = np.random.default_rng(0), Lessons(places=256)
    batch = batch_of(shapes, np.array([0] * 8), lessons, layout, rng)  # the ball
    assert ((batch.places >= 0) & (batch.places <= layout.cells)).all()
    for points, places, inside in zip(batch.points.numpy(), batch.places.numpy(), batch.inside.numpy() > 0.5):
        # A ball through the points, by least squares; outliers and noise move it a little.
        rows = np.column_stack([2 * points, np.ones(len(points))])
        solution = np.linalg.lstsq(rows, (points**2).sum(1), rcond=None)[0]
        middle, radius = solution[:3], np.sqrt(solution[3] + (solution[:3] ** 2).sum())
        away = np.linalg.norm(places - middle, axis=1) / radius
        sure = np.abs(away - 1) > 0.15
        assert (inside[sure] == (away[sure] < 1)).mean() > 0.97


def test_windows_of_different_counts_learn_together_without_a_neighbour_twice(shapes):
    batch = batch_of(shapes, np.array([0, 1, 2, 0]), Lessons(places=64), SCENE, np.random.default_rng(3))
    counts = [len(np.unique(points, axis=0)) for points in batch.points.numpy()]
    assert min(counts) < 0.9 * max(counts) and max(counts) > 0.95 * batch.points.shape[1]
    for points, nearest in zip(batch.points, batch.nearest):
        assert all(len(torch.unique(points[row], dim=0)) == SCENE.neighbours for row in nearest)


def test_scans_of_one_side_lack_the_other(shapes):
    off = [np.linalg.norm(scanned(shapes[0], 400, np.random.default_rng(seed)).points.mean(axis=0)) for seed in range(60)]
    assert 0.1 < np.mean(np.array(off) > 0.1) < 0.6  # a ball's points that are missing on one side draw the mean to the other


def test_points_lie_closest_where_a_scanner_looks_straight_at_them(shapes):
    ball = shapes[0]
    weight, eye = density(ball, np.array([0])), ball.eyes[0].astype(float)
    towards = ball.points.astype(float) @ eye / np.linalg.norm(eye) / 0.5
    assert not weight[towards < 0].any() and weight[towards > 0.95].min() > weight[(towards > 0) & (towards < 0.8)].max()


def test_scans_have_about_the_points_asked_for(shapes):
    shares = [len(scanned(shapes[1], count, np.random.default_rng(seed)).points) / count for seed in range(20) for count in (300, 8000)]
    assert max(shares) == 1 and min(shares) > 0.5


def test_the_boundary_is_where_the_sides_meet():
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 3))
    near = next_to_surface(x, x[:, 0] < 0)
    assert near[np.abs(x[:, 0]) < 0.01].all() and not near[np.abs(x[:, 0]) > 0.08].any()
    assert not next_to_surface(x, np.ones(len(x), bool)).any()


def test_a_margin_asks_for_more():
    class Right(torch.nn.Module):
        def forward(self, points, places, nearest):
            return torch.tensor([[3.0, -3.0]])

    batch = type("Batch", (), {"points": None, "places": None, "nearest": None, "inside": torch.tensor([[1.0, 0.0]])})
    assert float(loss_of(Right(), batch, 2.0)) == pytest.approx(np.log1p(np.exp(-1)), rel=1e-5)
    assert float(loss_of(Right(), batch)) == pytest.approx(np.log1p(np.exp(-3)), rel=1e-5)


def test_a_network_learns_a_few_solids(shapes):
    torch.manual_seed(0)
    network, told, steps = OccupancyNetwork(OBJECT), [], 160
    lessons = Lessons(batch=3, places=256, rate=5e-3, steps=steps)
    learn(
        network,
        Batches(shapes, lessons, OBJECT, seed=0),
        lessons,
        run=Run(device="cpu"),
        processes=Processes(),
        unseen=shapes,
        every=steps // 2,
        show=lambda step, found: told.append((step, found)),
    )
    assert [step for step, _ in told] == [steps // 2, steps]
    assert told[-1][1]["loss"] < told[0][1]["loss"]
    assert told[-1][1]["iou"]["simple"] > 0.7
