"""orient(): the sides of surfaces known in closed form, from positions alone, from sensors, from normals of every quality."""

import numpy as np
import pytest
import torch

from surfrecon.geometry import PointCloud, Similarity
from surfrecon.local_surfaces import local_surfaces
from surfrecon.orientation import Orientation, WindingField, orient
from surfrecon.run import Run

UTM = np.array([8e5, 5.8e6, 100.0])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sphere(count: int, radius: float = 1.0, centre=(0.0, 0.0, 0.0), *, facing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points and true normals; facing -1 for the wall of a hollow."""
    normals = unit(np.random.default_rng(count).normal(size=(count, 3)))
    return np.asarray(centre) + radius * normals, facing * normals


def torus(count: int, large: float = 1.0, small: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0, 2 * np.pi, (2, 4 * count))
    even = generator.uniform(0, large + small, 4 * count) < large + small * np.cos(b)  # area grows with the distance from the axis
    a, b = a[even][:count], b[even][:count]
    normals = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=1)
    return large * np.stack([np.cos(a), np.sin(a), 0 * a], axis=1) + small * normals, normals


def plate(count: int, half) -> tuple[np.ndarray, np.ndarray]:
    """A cuboid of three half sides, sampled evenly by area."""
    generator = np.random.default_rng(0)
    half = np.asarray(half, float)
    axis = generator.choice(3, count, p=1 / half / (1 / half).sum())
    normals = np.zeros((count, 3))
    normals[np.arange(count), axis] = generator.choice([-1.0, 1.0], count)
    return np.where(normals == 0, generator.uniform(-1, 1, (count, 3)), normals) * half, normals


def shuffled(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    points, normals = (np.concatenate(arrays) for arrays in zip(*parts))
    order = np.random.default_rng(1).permutation(len(points))
    return points[order], normals[order]


def found(points: np.ndarray, run: Run | None = None, **known: np.ndarray) -> Orientation:
    return orient(PointCloud(points, **known), local_surfaces(points).normals, run or Run(device="cpu"))


def right(orientation: Orientation, normals: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", orientation.normals, normals) > 0


def winding(orientation: Orientation, points: np.ndarray) -> np.ndarray:
    return orientation.winding(torch.as_tensor(points, dtype=torch.float32))[0].numpy()


SHAPES = {
    "sphere": shuffled(sphere(2000)),
    "torus": shuffled(torus(3000)),
    "hollow ball": shuffled(sphere(3000), sphere(1200, 0.6, facing=-1)),
    "ball in a hollow ball": shuffled(sphere(3000), sphere(1200, 0.6, facing=-1), sphere(300, 0.3)),
    "two bodies": shuffled(sphere(2000, 0.5, (-1, 0, 0)), sphere(1000, 0.4, (0.8, 0.3, 0))),
}


@pytest.fixture(scope="module")
def ring() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, true normals and axes of a torus."""
    points, normals = SHAPES["torus"]
    return points, normals, local_surfaces(points).normals


# positions alone ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_side_is_right_from_positions_alone(shape):
    points, normals = SHAPES[shape]
    axes = local_surfaces(points).normals
    run = Run(device="cpu")
    orientation = orient(PointCloud(points), axes, run)
    assert right(orientation, normals).all() and orientation.confident.all()
    assert np.array_equal(np.abs(orientation.normals), np.abs(axes))  # sides are chosen, axes kept
    assert orientation.source == "winding numbers" and not run.warnings


def test_plate_six_spacings_thick_is_wrong_at_single_points_of_its_edges_only():
    half = np.array([1, 1, 0.145])
    points, normals = shuffled(plate(4000, half))
    spacing = PointCloud(points).spacing()
    assert 2 * half[2] / spacing == pytest.approx(6, abs=0.3)
    wrong = ~right(found(points), normals)
    from_edge = np.sort(half - np.abs(points), axis=1)[:, 1]  # one axis is on its face
    assert wrong.mean() < 0.002 and (from_edge[wrong] < 0.5 * spacing).all()


@pytest.mark.parametrize("offset", [0 * UTM, UTM], ids=["here", "utm"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_normals_turn_with_the_frame_whatever_its_scale_and_offset(scale, offset, ring):
    points, normals, axes = ring
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    frame = Similarity(scale, offset, rotation * np.linalg.det(rotation))
    moved = found(frame.points(points))
    here = orient(PointCloud(points), axes, Run(device="cpu"))
    apart = np.abs(moved.normals - frame.directions(here.normals)).max(axis=1)
    assert (apart < 1e-3).mean() > 0.998 and apart.max() < 0.01  # rounding swaps a point's last neighbour here and there
    assert right(moved, frame.directions(normals)).all() and moved.confident.all()


def test_order_of_the_points_does_not_matter(ring):
    points, normals, axes = ring
    order = np.random.default_rng(8).permutation(len(points))
    assert right(orient(PointCloud(points[order]), -axes[order], Run(device="cpu")), normals[order]).all()


def test_same_seed_gives_the_same_field_bit_by_bit_and_any_seed_the_same_normals(ring):
    points, _, axes = ring
    first, second, other = (orient(PointCloud(points), axes, Run(device="cpu", seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.winding.values, second.winding.values)
    assert np.array_equal(first.normals, second.normals) and np.array_equal(first.normals, other.normals)


@pytest.mark.parametrize("count", [1, 30])
def test_outliers_a_hundred_times_further_turn_nothing(count, ring):
    points, normals, _ = ring
    stray = 100 * unit(np.random.default_rng(4).normal(size=(count, 3)))
    orientation = found(np.concatenate([points, stray]))
    kept, far = np.split(np.arange(len(points) + count), [len(points)])
    assert right(orientation, np.concatenate([normals, stray]))[kept].all() and orientation.confident[kept].all()
    assert not orientation.confident[far].any()
    np.testing.assert_allclose(np.linalg.norm(orientation.normals, axis=1), 1, atol=1e-6)


def test_progress_rises_to_no_more_than_its_total(ring):
    points, _, axes = ring
    steps = []
    orient(PointCloud(points), axes, Run(device="cpu", on_step=steps.append))
    done = [step.done for step in steps]
    assert done == list(range(1, len(done) + 1)) and {step.stage for step in steps} == {"orient"}
    assert all(step.done <= step.total for step in steps)


# the winding field -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True], ids=["positions alone", "given normals"])
@pytest.mark.parametrize("shape", ["sphere", "hollow ball", "torus"])
def test_winding_number_is_one_inside_zero_outside_and_a_half_at_the_points(shape, given):
    points, normals = SHAPES[shape]
    orientation = found(points, normals=normals) if given else found(points)
    x = np.random.default_rng(7).uniform(-1.6, 1.6, (5000, 3))
    radius = np.linalg.norm(x, axis=1)
    distance = {
        "sphere": radius - 1,
        "hollow ball": np.abs(radius - 0.8) - 0.2,
        "torus": np.hypot(np.hypot(x[:, 0], x[:, 1]) - 1, x[:, 2]) - 0.35,
    }[shape]
    sure = np.abs(distance) > 2 * orientation.winding.step  # nearer, lattice and cut-off kernel blur the step
    inside = distance < 0
    assert (sure & inside).sum() > 100 and (sure & ~inside).sum() > 100
    # Area vectors have one length where sampling is uneven by chance, and the box is periodic: a quarter off at most, a tenth usually.
    error = np.abs(winding(orientation, x) - inside)[sure]
    assert error.max() < 0.25 and np.sqrt((error**2).mean()) < 0.1
    at_points = winding(orientation, points)
    assert np.median(at_points) == pytest.approx(0.5, abs=0.03) and np.abs(at_points - 0.5).max() < 0.25


def test_winding_field_stands_where_the_scan_stands_in_utm(ring):
    points, _, axes = ring
    here, there = (orient(PointCloud(points + offset), axes, Run(device="cpu")).winding for offset in (0 * UTM, UTM))
    x = torch.as_tensor(points)
    torch.testing.assert_close(there(x + torch.as_tensor(UTM))[0].float(), here(x)[0].float(), rtol=0, atol=1e-3)


def rough_field() -> WindingField:
    values = torch.randn(9, 8, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return WindingField(values, torch.tensor([0.3, -0.2, 5.0], dtype=torch.float64), 0.5)


def test_gradient_of_a_winding_field_is_that_of_finite_differences():
    field, step = rough_field(), 1e-6
    low, high = field.origin + 1.1 * field.step, field.origin + (torch.tensor(field.values.shape) - 2.1) * field.step
    x = low + (high - low) * torch.rand(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradient = field(x)[1]
    for axis, side in enumerate(step * torch.eye(3, dtype=torch.float64)):
        slope = (field(x + side)[0] - field(x - side)[0]) / (2 * step)
        torch.testing.assert_close(gradient[:, axis], slope, rtol=0, atol=1e-4)  # the curvature jumps between nodes


def test_winding_field_is_zero_outside_its_lattice_and_takes_no_point_one_point_and_any_layout():
    field = rough_field()
    for outside in (field.origin - 0.1, field.origin + torch.tensor(field.values.shape) * field.step, field.origin + 1e6):
        value, gradient = field(outside[None])
        assert value == 0 and (gradient == 0).all()
    x = field.origin + 2 + torch.rand(9, 3, dtype=torch.float64)
    value, gradient = field(x)
    assert field(x[:0])[0].shape == (0,) and field(x[:0])[1].shape == (0, 3)
    assert torch.equal(field(x[:1])[0], value[:1]) and torch.equal(field(x.T.contiguous().T)[1], gradient)


# the scan's own normals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1.0, 5.0])
def test_right_normals_are_believed_as_they_are(length, ring):
    points, normals, axes = ring
    run = Run(device="cpu")
    orientation = orient(PointCloud(points, normals=length * normals), axes, run)
    np.testing.assert_allclose(orientation.normals, normals, atol=1e-12)
    assert orientation.source == "the scan's normals" and orientation.confident.all() and not run.warnings


def test_inward_normals_are_turned_with_a_warning(ring):
    points, normals, axes = ring
    run = Run(device="cpu")
    orientation = orient(PointCloud(points, normals=-normals), axes, run)
    np.testing.assert_allclose(orientation.normals, normals, atol=1e-12)
    assert orientation.source == "the scan's normals, turned"
    assert len(run.warnings) == 1 and "point inward (100% of them): they were turned" in run.warnings[0]
    assert np.median(winding(orientation, points)) == pytest.approx(0.5, abs=0.03) and winding(orientation, np.zeros((1, 3))) < 0.2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("random directions", "don't fit its points"),
        ("one direction", "don't fit its points"),
        ("positions", "don't fit its points"),
        ("random sides", "contradict each other"),
        ("mostly zero", "are zero"),
    ],
)
def test_normals_that_are_none_are_refused_with_a_warning(kind, said, ring):
    points, normals, axes = ring
    generator = np.random.default_rng(2)
    given = {
        "random directions": unit(generator.normal(size=normals.shape)),
        "one direction": np.tile([0.0, 0.0, 1.0], (len(points), 1)),
        "positions": points,
        "random sides": normals * generator.choice([-1.0, 1.0], (len(points), 1)),
        "mostly zero": normals * (generator.uniform(size=(len(points), 1)) > 0.6),
    }[kind]
    run = Run(device="cpu")
    orientation = orient(PointCloud(points, normals=given), axes, run)
    assert len(run.warnings) == 1 and said in run.warnings[0]
    assert orientation.source == "winding numbers" and right(orientation, normals).all()


@pytest.mark.parametrize("facing", [1.0, -1.0])
def test_zero_normals_are_replaced_by_local_ones_of_the_right_side(facing, ring):
    points, normals, axes = ring
    known = np.random.default_rng(3).uniform(size=len(points)) > 0.3
    orientation = orient(PointCloud(points, normals=facing * normals * known[:, None]), axes, Run(device="cpu"))
    np.testing.assert_allclose(orientation.normals[known], normals[known], atol=1e-12)
    assert right(orientation, normals).all()


def test_confident_is_false_where_a_given_side_is_wrong_and_only_there(ring):
    points, normals, axes = ring
    wrong = np.random.default_rng(3).uniform(size=len(points)) < 0.1
    orientation = orient(PointCloud(points, normals=np.where(wrong[:, None], -normals, normals)), axes, Run(device="cpu"))
    assert orientation.source == "the scan's normals" and np.array_equal(orientation.confident, ~wrong)


def test_wrong_sides_of_a_plate_too_thin_are_mostly_not_confident():
    points, normals = shuffled(plate(8000, (1, 1, 0.04)))  # 2.5 spacings
    orientation = found(points)
    wrong = ~right(orientation, normals)
    assert wrong[~orientation.confident].mean() > 10 * wrong[orientation.confident].mean()
    assert wrong.mean() < 0.02


# sensor origins ----------------------------------------------------------------------------------------------------------------------


def test_sensors_decide_the_side_of_an_open_sheet_where_winding_numbers_cannot():
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 1200))
    points = np.stack([x, y, 0.3 * np.sin(3 * x) * np.cos(2 * y)], axis=1)
    up = unit(np.stack([-0.9 * np.cos(3 * x) * np.cos(2 * y), 0.6 * np.sin(3 * x) * np.sin(2 * y), np.ones(1200)], axis=1))
    for side in (1.0, -1.0):
        orientation = found(points, origins=np.tile([0.0, 0.0, 5.0 * side], (1200, 1)))
        assert orientation.source == "sensor origins" and right(orientation, side * up).all()
    assert 0.2 < right(found(points), up).mean() < 0.8


@pytest.mark.parametrize("height", [0.2, -0.2])
def test_points_seen_at_a_grazing_angle_leave_their_side_to_winding_numbers(height):
    points, normals = SHAPES["sphere"]
    sensors = points + 3 * unit(np.cross(normals, [0.0, 0.0, 1.0])) + height * normals  # 4 degrees above or below the surface
    assert right(found(points, origins=sensors), normals).all()


def test_confident_is_false_where_a_sensor_is_said_to_be_behind_the_surface():
    points, normals = SHAPES["sphere"]
    wrong = np.random.default_rng(3).uniform(size=len(points)) < 0.1
    orientation = found(points, origins=points + np.where(wrong[:, None], -0.5, 2.0) * normals)
    assert np.array_equal(right(orientation, normals), ~wrong) and np.array_equal(orientation.confident, ~wrong)


def test_missing_area_points_to_the_side_that_was_not_scanned():
    points = SHAPES["sphere"][0]
    assert np.linalg.norm(found(points).missing) < 0.02
    seen = points[:, 2] > -0.3 * abs(points).max()
    missing = found(points[seen]).missing
    assert missing[2] < -0.2 and abs(missing[:2]).max() < 0.02  # of a cap of height 1.3: pi (1 - 0.3^2) over 2 pi 1.3
