"""The whole path on small scans with known surfaces."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import trimesh

from surfrecon.data_tools.scanner import scan as virtual_scan
from surfrecon.extract import marching_cubes
from surfrecon.fields import Field
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.methods import METHODS
from surfrecon.metrics import closest, compare
from surfrecon.reconstruction import preferred_method, reconstruct
from surfrecon.repair import inspect
from surfrecon.run import Run

UTM = np.array([8e5, 5.8e6, 100.0])


def sphere(count: int, *, noise: float = 0.0, radius: float = 2.0, centre=(0.0, 0.0, 0.0)) -> PointCloud:
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return PointCloud(np.asarray(centre) + (radius + noise * generator.normal(size=(count, 1))) * directions)


@pytest.fixture(scope="module")
def ball():
    return reconstruct(sphere(3000, noise=0.01, centre=UTM), run=Run(device="cpu"))


def test_unoriented_noisy_sphere_becomes_a_solid_of_its_volume_within_one_percent(ball):
    assert ball.report.solid and ball.report.components == 1 and ball.report.genus == 0
    assert ball.mesh.volume() == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)


def test_mesh_stands_where_the_scan_stood_in_utm(ball):
    radius = np.linalg.norm(ball.mesh.vertices - UTM, axis=1)
    assert abs(radius.mean() - 2.0) < 0.005 and radius.std() < 0.01


def test_outliers_leave_no_piece_and_no_bump(ball):
    clean = sphere(3000, noise=0.01)
    stray = np.random.default_rng(1).uniform(-3, 3, (60, 3))
    result = reconstruct(PointCloud(np.concatenate([clean.points, stray])), run=Run(device="cpu"))
    radius = np.linalg.norm(result.mesh.vertices, axis=1)
    assert result.report.components == 1 and abs(radius - 2.0).max() < 0.4
    assert np.quantile(abs(radius - 2.0), 0.99) < 0.05


def test_two_separate_bodies_become_two_pieces_with_the_volume_of_both():
    parts = [sphere(1500, radius=0.5, centre=(-1.0, 0, 0)).points, sphere(800, radius=0.4, centre=(0.8, 0.3, 0)).points]
    report = reconstruct(PointCloud(np.concatenate(parts)), run=Run(device="cpu")).report
    assert report.solid and report.components == 2 and report.genus == 0
    assert report.volume == pytest.approx(4 / 3 * np.pi * (0.5**3 + 0.4**3), rel=0.01)


class Balls(Field):
    """Signed distance to balls of the x axis."""

    lipschitz = 1.0

    def __init__(self, centres, radii):
        super().__init__()
        self.centres, self.radii = torch.tensor([[c, 0.0, 0.0] for c in centres]), torch.tensor(radii)

    def forward(self, x):
        return (torch.cdist(x, self.centres) - self.radii).amin(1)

    def value_and_gradient(self, x):
        raise NotImplementedError


@dataclass(frozen=True)
class BallsMethod:
    """Fits nothing: the field is given."""

    centres: tuple[float, ...] = (-0.4, 0.5, 0.8)
    radii: tuple[float, ...] = (0.4, 0.2, 0.05)
    accepts = (PointCloud,)
    starts_from = refined_by = None
    follows = False

    def fit(self, scan, run, start=None):
        return Balls(self.centres, self.radii)


def test_tiny_pieces_without_support_are_removed_and_supported_ones_kept(monkeypatch):
    monkeypatch.setitem(METHODS, "balls", f"{__name__}:BallsMethod")
    method = BallsMethod()
    counts = (2000, 500, 5)  # a five-hundredth of the points is no support
    spots = [sphere(n, radius=r, centre=(c, 0, 0)).points for n, r, c in zip(counts, method.radii, method.centres)]
    scan = PointCloud(np.concatenate(spots))
    result = reconstruct(scan, method, resolution=64, run=Run(device="cpu"))
    assert inspect(marching_cubes(result.field, resolution=64, run=Run(device="cpu"))).components == 3
    pieces = trimesh.Trimesh(result.mesh.vertices, result.mesh.faces, process=False).split()
    volumes = sorted(piece.volume * result.unit_from_world.scale**3 for piece in pieces)
    assert result.report.solid and volumes == pytest.approx([4 / 3 * np.pi * r**3 for r in (0.2, 0.4)], rel=0.03)


def test_ten_copies_of_each_point_change_nothing():
    scan = sphere(300)
    copies = reconstruct(scan[np.arange(len(scan)).repeat(10)], run=Run(device="cpu")).mesh
    assert copies.volume() == pytest.approx(reconstruct(scan, run=Run(device="cpu")).mesh.volume(), rel=1e-3)


def test_room_seen_from_its_middle_becomes_a_solid_of_its_volume():
    room = sphere(1000)
    report = reconstruct(PointCloud(room.points, origins=np.zeros((len(room), 3))), run=Run(device="cpu")).report
    assert report.solid and report.volume == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)


def test_sharp_cube_has_the_volume_of_its_edges_and_a_blunt_one_less():
    generator = np.random.default_rng(0)
    points = generator.uniform(-1, 1, (6000, 3))
    points[np.arange(6000), generator.integers(0, 3, 6000)] = generator.choice([-1.0, 1.0], 6000)
    scan = PointCloud(points @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) + UTM)
    sharp, blunt = (reconstruct(scan, resolution=64, sharp=sharp, run=Run(device="cpu")) for sharp in (True, False))
    assert sharp.report.solid and sharp.summary()["sharp"] and not blunt.summary()["sharp"]
    assert abs(sharp.mesh.volume() - 8) < 0.3 * abs(blunt.mesh.volume() - 8)
    assert len(sharp.mesh.scalars["confidence"]) == len(sharp.mesh.vertices) == len(sharp.mesh.normals)


def test_same_seed_gives_the_same_mesh():
    first, second = (reconstruct(sphere(1000), run=Run(device="cpu", seed=3)).mesh for _ in range(2))
    assert np.array_equal(first.vertices, second.vertices) and np.array_equal(first.faces, second.faces)


def test_scanned_part_of_a_hemisphere_is_given_as_an_open_sheet():
    whole = sphere(6000)
    result = reconstruct(whole[whole.points[:, 2] > 0], open=True, run=Run(device="cpu"))
    assert result.report.solid and result.sheet is not None
    assert result.sheet.area() < 0.95 * result.mesh.area()


def test_colours_scalars_and_confidence_reach_the_vertices():
    scan = sphere(2000)
    height = scan.points[:, 2].astype(np.float32)
    colored = PointCloud(scan.points, colors=np.clip(scan.points / 4 + 0.5, 0, 1), scalars={"height": height})
    mesh = reconstruct(colored, run=Run(device="cpu")).mesh
    assert np.abs(mesh.scalars["height"] - mesh.vertices[:, 2]).max() < 0.3
    assert np.abs(mesh.colors - (mesh.vertices / 4 + 0.5)).max() < 0.1
    assert mesh.scalars["confidence"].min() > 0.5


def test_virtual_scan_of_the_result_lies_on_it(ball):
    again = virtual_scan(ball.mesh, views=4, points=500, depth_noise=0.0, outliers=0.0)
    assert closest(again.points, ball.mesh)[0].max() < 1e-3


def test_a_mesh_is_at_no_distance_from_itself_and_at_the_shift_from_its_shifted_copy(ball):
    same = compare(ball.mesh, ball.mesh, samples=2000)
    assert same.distance < 1e-6 and same.hausdorff < 1e-6 and same.normals == pytest.approx(1, abs=1e-3)
    far = Mesh(ball.mesh.vertices + np.array([10.0, 0, 0]), ball.mesh.faces)
    assert compare(far, ball.mesh, samples=2000).hausdorff == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("method", ["gridpull", "hashsdf"])
def test_each_step_of_a_fit_shows_a_preview_and_changes_nothing(method):
    scan, previews = sphere(1500), []

    def look(step):
        if step.surface is not None and step.done == step.total:
            report = inspect(marching_cubes(step.surface, resolution=32))
            previews.append((step.stage, report.solid, report.genus, report.volume))

    seen = reconstruct(scan, method, run=Run(device="cpu", on_step=look))
    assert {solid for _, solid, _, _ in previews} == {True} and {genus for _, _, genus, _ in previews} == {0}
    volumes = [volume / seen.unit_from_world.scale**3 for _, _, _, volume in previews]
    assert volumes[-1] == pytest.approx(4 / 3 * np.pi * 2.0**3, rel=0.03)
    unseen = reconstruct(scan, method, run=Run(device="cpu"))
    np.testing.assert_array_equal(seen.mesh.vertices, unseen.mesh.vertices)


def test_a_scan_that_lacks_a_side_is_for_the_network_and_whole_ones_and_sheets_are_not():
    run, whole = Run(device="cpu"), sphere(4000, noise=0.01)
    assert preferred_method(whole, run) == "gridpull"
    assert preferred_method(whole[whole.points[:, 2] > -0.5], run) == "convonet"
    flat = np.random.default_rng(0).uniform(-1, 1, (4000, 3)) * [5, 5, 0]
    flat[:, 2] = 0.2 * np.sin(flat[:, 0]) * np.cos(flat[:, 1])
    assert preferred_method(PointCloud(flat), run) == "gridpull"


def test_scan_from_within_is_no_object_that_lacks_a_side():
    run = Run(device="cpu")
    part = sphere(4000).points
    part = part[part[:, 2] > -0.5]
    seen_from = lambda place: PointCloud(part, origins=np.broadcast_to(np.array(place, float), part.shape))
    assert preferred_method(seen_from([0, 0, 10]), run) == "convonet"
    assert preferred_method(seen_from([0.1, 0, 0.2]), run) == "gridpull"


def test_auto_is_the_method_that_is_preferred():
    cap = sphere(1500)
    cap = cap[cap.points[:, 2] > 0]
    result = reconstruct(cap, run=Run(device="cpu"))
    assert result.method == "convonet" and result.report.solid
