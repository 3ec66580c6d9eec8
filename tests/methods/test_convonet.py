"""surfrecon.methods.convonet: clouds become solids, with the weights that came with surfrecon and with others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from surfrecon.data_tools.shapes import box, capsule, mesh_of, sphere
from surfrecon.errors import InputError
from surfrecon.extract import marching_cubes
from surfrecon.fields.conv_occupancy import ConvOccupancyField
from surfrecon.geometry import PointCloud
from surfrecon.methods.convonet import ConvONet
from surfrecon.metrics import closest, sample_surface, volume_iou
from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.weights import named_weights, read_weights, write_weights
from surfrecon.networks.windows import encoded
from surfrecon.reconstruction import estimate, reconstruct
from surfrecon.run import Run

SOLIDS = {
    "ball": sphere(1.0),
    "rod": capsule([-1, 0, 0], [1, 0.3, 0], 0.3),
    "dumbbell": sphere(0.6).moved([-1, 0, 0]) | capsule([-1, 0, 0], [1, 0, 0], 0.2) | box([0.8, 0.8, 0.8], rounding=0.1).moved([1, 0, 0]),
}


def cloud(solid, count=1500, noise=0.005, seed=0):
    mesh = mesh_of(solid, 64)
    points = sample_surface(mesh, count, seed)[0]
    size = np.ptp(mesh.bounds(), axis=0).max()
    return PointCloud(points + noise * size * np.random.default_rng(seed).standard_normal(points.shape)), mesh


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("count", [400, 3000])
def test_the_network_alone_makes_the_solid(name, count):
    points, truth = cloud(SOLIDS[name], count)
    result = reconstruct(points, ConvONet(refine="none"), run=Run(device="cpu"))
    assert result.report.solid and result.report.genus == 0
    assert volume_iou(result.mesh, truth) > (0.85 if count == 400 else 0.9)


@pytest.mark.parametrize("name", ["rod", "dumbbell"])
def test_gridpull_goes_on_from_the_network(name):
    points, truth = cloud(SOLIDS[name], 2000, noise=0.001)
    alone, refined = (reconstruct(points, ConvONet(refine=refine), run=Run(device="cpu")) for refine in ("none", "balanced"))
    assert refined.report.solid and refined.method == "convonet"
    assert volume_iou(refined.mesh, truth) > max(0.97, volume_iou(alone.mesh, truth))


def test_a_side_that_nobody_scanned_is_closed_by_what_shapes_are_like():
    points, truth = cloud(SOLIDS["ball"], 3000, noise=0.001)
    half = points[points.points[:, 2] > 0]
    with_prior, without = (reconstruct(half, method, run=Run(device="cpu")).mesh for method in (ConvONet(), "gridpull"))
    assert volume_iou(with_prior, truth) > volume_iou(without, truth)


def row_of_boxes():
    """A long floor with things on it, (N, 3) points around the origin."""
    floor = box([24, 2, 0.4])
    for place in range(-10, 11, 4):
        floor = floor | box([1, 0.8, 1 + place % 3 / 4]).moved([place, 0, 0.5])
    points = sample_surface(mesh_of(floor, 192), 30_000, 0)[0]
    return points / np.abs(points).max()


def test_the_surface_of_a_scene_is_the_same_through_windows_of_another_size():
    points, cpu = row_of_boxes(), torch.device("cpu")
    network = read_weights(named_weights("scenes"))[0]
    surfaces = []
    for window in (32, 1024):
        lattice, features = encoded(network, points, device=cpu, window=window)
        assert max(lattice.shape) > 3 * 32
        surfaces.append(marching_cubes(ConvOccupancyField(network, features, lattice), resolution=128))
    for one, other in (surfaces, surfaces[::-1]):
        assert closest(one.vertices, other)[0].max() < 1 / 128  # half a voxel of 2 / 128


def test_a_scene_is_a_solid_near_its_points():
    points = row_of_boxes()[::4]
    result = reconstruct(PointCloud(points), ConvONet(weights="scenes", refine="none"), run=Run(device="cpu"))
    assert result.report.solid
    up = points[:, 2] > points[:, 2].min() + 0.01
    assert np.quantile(closest(points[up], result.mesh)[0], 0.95) < 0.5 * PointCloud(points).spacing()


def test_scale_and_place_change_nothing():
    points, _ = cloud(SOLIDS["rod"], 800)
    here = reconstruct(points, ConvONet(refine="none"), run=Run(device="cpu")).mesh
    far = reconstruct(replace(points, points=1000 * points.points + [4e5, 5e6, 300]), ConvONet(refine="none"), run=Run(device="cpu")).mesh
    assert len(far.vertices) == pytest.approx(len(here.vertices), rel=0.01)
    assert np.allclose(far.bounds(), 1000 * here.bounds() + [4e5, 5e6, 300], atol=2)


def test_the_same_seed_gives_the_same_bytes():
    points, _ = cloud(SOLIDS["ball"], 9000)  # more than the network sees
    one, other = (reconstruct(points, ConvONet(refine="none"), run=Run(device="cpu")).mesh for _ in range(2))
    assert np.array_equal(one.vertices, other.vertices) and np.array_equal(one.faces, other.faces)


def test_a_higher_threshold_makes_a_smaller_solid():
    points, _ = cloud(SOLIDS["ball"], 500, noise=0.01)
    small, large = (reconstruct(points, ConvONet(refine="none", threshold=t), run=Run(device="cpu")).report.volume for t in (0.8, 0.2))
    assert 0 < small < large


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.0}, {"weights": "nothing"}, {"refine": "paperr"}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError, match=r"probability|no weights|preset"):
        reconstruct(cloud(SOLIDS["ball"], 100)[0], ConvONet(**settings), run=Run(device="cpu"))


def test_weights_of_ones_own_for_scenes_are_looked_at_through_windows(tmp_path):
    torch.manual_seed(0)
    network = OccupancyNetwork(Layout(cells=16, grid=4, depth=2, planes=0, width=8, decoder=8, neighbours=4, places=False))
    write_weights(network, tmp_path / "mine.safetensors", {})
    points, _ = cloud(SOLIDS["dumbbell"], 3000)
    field = ConvONet(weights=str(tmp_path / "mine.safetensors")).fit(points, Run(device="cpu"))
    assert min(field.lattice.shape) >= 16 and field(torch.zeros(3, 3)).isfinite().all()


def test_an_estimate_counts_the_refinement():
    points, _ = cloud(SOLIDS["ball"], 3000)
    assert estimate(points, ConvONet()).seconds > estimate(points, ConvONet(refine="none")).seconds > 0
