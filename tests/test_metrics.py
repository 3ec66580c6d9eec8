"""Exact distances, samples, sides and protocols against slow loops, closed forms and other libraries."""

import json

import numpy as np
import pytest
import trimesh

from surfrecon import metrics
from surfrecon.data_tools.shapes import mesh_of, torus
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.metrics import PROTOCOLS, closest, compare, contains, f_score, largest_component, sample_surface, volume_iou
from surfrecon.repair import inspect

UTM = np.array([8e5, 5.8e6, 300.0])
SQUARE = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])


def of(solid: trimesh.Trimesh) -> Mesh:
    return Mesh(solid.vertices, solid.faces)


def sphere(radius: float = 1.0, level: int = 4, centre=(0.0, 0.0, 0.0)) -> Mesh:
    ball = of(trimesh.creation.icosphere(level, radius))
    return Mesh(ball.vertices + centre, ball.faces)


def cube(side: float = 1.0, corner=(0.0, 0.0, 0.0)) -> Mesh:
    box = of(trimesh.creation.box((side, side, side)))
    return Mesh(box.vertices + side / 2 + np.asarray(corner, float), box.faces)


def joined(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def flipped(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def segment_distance(p, a, b) -> float:
    length2 = (b - a) @ (b - a)
    t = min(max((p - a) @ (b - a) / length2, 0.0), 1.0) if length2 > 0 else 0.0
    return float(np.linalg.norm(p - a - t * (b - a)))


def triangle_distance(p, a, b, c) -> float:
    """Scalar oracle: the height where the foot is inside (by areas of a QR frame), else the nearest side."""
    sides = min(segment_distance(p, a, b), segment_distance(p, b, c), segment_distance(p, c, a))
    normal = np.cross(b - a, c - a)
    if np.linalg.norm(normal) <= 1e-12 * np.linalg.norm(b - a) * np.linalg.norm(c - a):
        return sides
    normal /= np.linalg.norm(normal)
    height = (p - a) @ normal
    foot = p - height * normal
    turns = [np.cross(y - x, foot - x) @ normal for x, y in ((a, b), (b, c), (c, a))]
    return abs(float(height)) if min(turns) >= 0 else sides


# closest -------------------------------------------------------------------------------------------------------------------------


def soup(count: int, seed: int) -> Mesh:
    """Random triangles of sizes over four decades, then a point, two segments and slivers."""
    random = np.random.default_rng(seed)
    corners = random.normal(size=(count, 1, 3)) + random.normal(size=(count, 3, 3)) * 10 ** random.uniform(-3, 1, (count, 1, 1))
    corners[0] = corners[0, 0]
    corners[1, 2] = corners[1, 1]
    corners[2] = corners[2, 0] + np.array([[0], [1], [2.5]]) * (corners[2, 1] - corners[2, 0])
    corners[3:9, 2] = corners[3:9].mean(1) + 1e-7 * random.normal(size=(6, 3))
    corners[3:9, 1] = corners[3:9, 0] + 3 * (corners[3:9, 2] - corners[3:9, 0])
    return Mesh(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


@pytest.mark.parametrize("count", [9, 10, 64, 65, 150])
def test_closest_matches_a_scalar_loop_on_soup_with_degenerate_triangles(count):
    mesh = soup(count, count)
    points = np.concatenate([np.random.default_rng(1).normal(size=(20, 3)) * 3, mesh.vertices[:9:2], mesh.triangles()[:9].mean(1)])
    slow = np.array([[triangle_distance(p, *triangle) for triangle in mesh.triangles()] for p in points])
    fast, face = closest(points, mesh)
    np.testing.assert_allclose(fast, slow.min(1), atol=1e-12)
    np.testing.assert_allclose(slow[np.arange(len(points)), face], fast, atol=1e-12)


@pytest.mark.parametrize("spread", [0.0, 0.003, 0.3, 30.0])
def test_closest_matches_trimesh_triangle_by_triangle(spread):
    mesh = sphere(level=3)
    random = np.random.default_rng(0)
    points = sample_surface(mesh, 100, seed=0)[0] + spread * random.normal(size=(100, 3))
    triangles, count = mesh.triangles(), len(mesh.faces)
    nearest = trimesh.triangles.closest_point(np.tile(triangles, (100, 1, 1)), np.repeat(points, count, axis=0))
    slow = np.linalg.norm(nearest - np.repeat(points, count, axis=0), axis=1).reshape(100, count).min(1)
    np.testing.assert_allclose(closest(points, mesh)[0], slow, atol=1e-12, rtol=1e-12)


def test_closest_matches_open3d_within_float32():
    o3d = pytest.importorskip("open3d", reason="open3d is not installed", exc_type=ImportError)
    mesh = mesh_of(torus(1.0, 0.4), 96)
    points = np.random.default_rng(0).uniform(-2, 2, (20_000, 3))
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    other = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
    assert np.abs(closest(points, mesh)[0] - other).max() < 2e-6


def test_distance_from_the_centre_of_a_sphere_is_its_inscribed_radius():
    mesh = sphere(level=5)
    inscribed = np.einsum("fi,fi->f", mesh.triangles()[:, 0], mesh.area_vectors()) / np.linalg.norm(mesh.area_vectors(), axis=1)
    distance, _ = closest(np.zeros((40, 3)), mesh)  # every face is nearly as near as the nearest
    np.testing.assert_allclose(distance, inscribed.min(), rtol=1e-12)


def test_closest_does_not_depend_on_the_size_of_its_chunks(monkeypatch):
    mesh, points = sphere(level=4), np.random.default_rng(0).normal(size=(500, 3))
    whole = closest(points, mesh)
    monkeypatch.setattr(metrics, "CHUNK", 7)
    monkeypatch.setattr(metrics, "MAX_PAIRS", 64)
    split = closest(points, mesh)
    assert (whole[0] == split[0]).all()
    assert (whole[1] == split[1]).mean() > 0.99  # ties on edges may fall to either face


def test_closest_in_utm_equals_closest_at_the_origin():
    mesh, points = sphere(level=3), np.random.default_rng(0).normal(size=(200, 3))
    far = mesh.transformed(Similarity(translation=UTM))
    np.testing.assert_allclose(closest(points + UTM, far)[0], closest(points, mesh)[0], atol=4e-9)  # one ulp of 5.8e6 is 1e-9


def test_closest_to_a_large_square_is_the_height_over_it():
    square = Mesh(100 * SQUARE.vertices, SQUARE.faces)
    points = np.random.default_rng(0).uniform([0, 0, 0], [100, 100, 7], (500, 3))
    np.testing.assert_allclose(closest(points, square)[0], points[:, 2], atol=1e-12)


def test_closest_finds_a_long_thin_triangle_among_small_ones():
    needle = Mesh([[0, 0, 0], [50, 0, 0], [0, 1e-4, 0]], [[0, 1, 2]])
    mesh = joined(sphere(level=4, centre=(0, 5, 0)), needle)
    points = np.column_stack([np.linspace(10, 49, 30), np.full(30, -0.5), np.zeros(30)])
    distance, face = closest(points, mesh)
    np.testing.assert_allclose(distance, 0.5, atol=1e-12)
    assert (face == len(mesh.faces) - 1).all()


def test_closest_takes_no_points_and_refuses_no_faces():
    distance, face = closest(np.zeros((0, 3)), SQUARE)
    assert distance.shape == face.shape == (0,)
    with pytest.raises(InputError, match="needs faces"):
        closest(np.zeros((1, 3)), Mesh(np.zeros((3, 3)), np.zeros((0, 3))))


# samples, sides, pieces ----------------------------------------------------------------------------------------------------------


def test_samples_of_a_surface_are_even_by_area():
    mesh = Mesh([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2], [0, 2, 3]])
    points, normals, face = sample_surface(mesh, 30_000, seed=0)
    assert (face == 0).mean() == pytest.approx(0.75, abs=0.01)
    assert closest(points, mesh)[0].max() < 1e-12
    np.testing.assert_allclose(points[face == 0].mean(0), [1, 1 / 3, 0], atol=0.015)  # the centroid
    np.testing.assert_allclose(normals, np.array([[0, 0, 1], [1, 0, 0]])[face], atol=1e-15)


def test_same_seed_gives_the_same_samples_and_a_mesh_without_area_none():
    first, second, other = (sample_surface(sphere(level=1), 100, seed)[0] for seed in (3, 3, 4))
    assert (first == second).all() and (first != other).any()
    with pytest.raises(InputError, match="1 faces without area"):
        sample_surface(Mesh(np.zeros((3, 3)), [[0, 1, 2]]), 10, 0)


def test_contains_matches_the_implicit_torus_off_its_tessellation():
    mesh = mesh_of(torus(1.0, 0.4), 96)
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (20_000, 3))
    distance = torus(1.0, 0.4).distance(points)
    clear = np.abs(distance) > 2e-3
    assert (contains(points[clear], mesh) == (distance < 0)[clear]).all()


@pytest.mark.parametrize("offset", [np.zeros(3), UTM], ids=["origin", "UTM"])
def test_contains_knows_a_hollow_and_does_not_care_for_winding(offset):
    shell = joined(sphere(1.0, centre=offset), flipped(sphere(0.5, centre=offset)))
    points = np.array([[0, 0, 0], [0.75, 0, 0], [0, -0.75, 0], [0, 0, 1.2], [5, 5, 5]]) + offset
    assert contains(points, shell).tolist() == contains(points, flipped(shell)).tolist() == [False, True, True, False, False]


def test_contains_on_a_lattice_that_meets_every_edge_of_a_cube():
    lattice = np.stack(np.meshgrid(*[np.arange(-0.25, 1.5, 0.25)] * 3), axis=-1).reshape(-1, 3)
    off = (np.abs(lattice) > 1e-9).all(1) & (np.abs(lattice - 1) > 1e-9).all(1)
    points = lattice[off]
    assert (contains(points, cube()) == ((points > 0) & (points < 1)).all(1)).all()


def test_largest_component_is_by_area_not_by_faces_and_keeps_attributes():
    mesh = joined(sphere(0.1, level=3), cube(5.0, (1, 1, 1)))
    tagged = Mesh(mesh.vertices, mesh.faces, colors=np.full((len(mesh.vertices), 3), 0.5), scalars={"row": np.arange(len(mesh.vertices))})
    largest = largest_component(tagged)
    assert inspect(largest).components == 1 and largest.volume() == pytest.approx(125)
    assert (mesh.vertices[largest.scalars["row"]] == largest.vertices).all() and len(largest.colors) == 8


# compare -------------------------------------------------------------------------------------------------------------------------


def test_a_mesh_compared_with_itself_is_perfect():
    result = compare(sphere(), sphere(), samples=5000)
    assert result.distance < 1e-15 and result.hausdorff < 1e-15
    assert result.iou == 1 and result.volume_ratio == 1 and result.sampling_floor == 0
    assert result.normals == pytest.approx(1) and result.signed_normals == pytest.approx(1)
    assert set(result.f_score.values()) == {1.0}
    assert result.mesh.solid and result.mesh == result.truth


def test_concentric_spheres_stand_their_difference_apart():
    small, large = 1.0, 1.25
    result = compare(sphere(small, 5), sphere(large, 5), samples=20_000, thresholds=(0.2, 0.26))
    sag = 1e-3  # of a level 5 sphere, of radius 1
    for way in (result.to_truth, result.to_mesh):
        assert (way.mean, way.median, way.max) == pytest.approx((large - small,) * 3, abs=sag)
    assert result.distance == pytest.approx(large - small, abs=sag) and result.hausdorff == pytest.approx(large - small, abs=sag)
    assert result.f_score == {0.2: 0.0, 0.26: 1.0}
    assert result.volume_ratio == pytest.approx((small / large) ** 3, rel=1e-9)
    sigma = 1 / np.sqrt(20_000 * np.pi / 6)  # points inside the large sphere
    assert result.iou == pytest.approx((small / large) ** 3, abs=3 * sigma * 0.5)
    assert result.normals == pytest.approx(1, abs=2e-3)


def test_parallel_squares_stand_their_height_apart_and_have_no_volume():
    result = compare(Mesh(SQUARE.vertices + np.array([0, 0, 0.3]), SQUARE.faces), SQUARE, samples=1000)
    assert result.to_truth == result.to_mesh
    assert (result.to_truth.mean, result.to_truth.median, result.hausdorff) == pytest.approx((0.3,) * 3, abs=1e-12)
    assert result.iou is None and result.volume_ratio is None
    assert result.diagonal == pytest.approx(np.sqrt(2))


def test_hausdorff_sees_a_spike_that_no_sample_hits():
    spiked = joined(cube(), Mesh([[0.5, 0.5, 1], [0.5 + 1e-9, 0.5, 1], [0.5, 0.5, 4]], [[0, 1, 2]]))
    assert compare(spiked, cube(), samples=1000).to_truth.max == pytest.approx(3, abs=1e-9)
    assert compare(cube(), spiked, samples=1000).to_mesh.max == pytest.approx(3, abs=1e-9)


def test_shifted_cube_has_the_overlap_of_its_shift():
    shift = 0.25
    result = compare(cube(corner=(shift, 0, 0)), cube(), samples=40_000)
    assert result.iou == pytest.approx((1 - shift) / (1 + shift), abs=0.01)
    assert result.hausdorff == pytest.approx(shift)
    # The far face stands `shift` away; the near one lies inside, min(shift, distance to the sides); a quarter of each side face juts out.
    inner = lambda t: (1 - 2 * t) ** 2 * t + 4 * (t**2 / 2 - 2 * t**3 / 3)  # mean of min(t, distance to the unit square's rim)
    mean = (shift + inner(shift) + 4 * shift**2 / 2) / 6
    assert result.to_truth.mean == pytest.approx(mean, rel=0.03)


def test_an_inside_out_mesh_shows_in_the_signed_normals_alone():
    result = compare(flipped(sphere()), sphere(), samples=2000)
    assert result.normals == pytest.approx(1) and result.signed_normals == pytest.approx(-1)
    assert result.iou == 1 and result.volume_ratio == pytest.approx(-1) and not result.mesh.solid


def test_a_cloud_as_truth_is_met_exactly_one_way_and_at_its_floor_the_other():
    mesh, count = sphere(), 20_000
    points, normals, _ = sample_surface(mesh, count, seed=5)
    result = compare(mesh, PointCloud(points, normals=normals), samples=50_000)
    assert result.to_mesh.max < 1e-12
    assert result.distance == pytest.approx(result.sampling_floor, rel=0.02)
    assert result.normals == pytest.approx(1, abs=0.01) and result.iou is None and result.truth is None
    assert compare(mesh, PointCloud(points), samples=100).normals is None


def test_f_score_is_the_harmonic_mean_of_both_shares():
    there, back = np.array([0.0, 1, 2, 3]), np.array([0.5, 5.0])
    assert f_score(there, back, 1.5) == pytest.approx(2 * 0.5 * 0.5 / (0.5 + 0.5))
    assert f_score(there, back, 2.5) == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert f_score(there + 10, back + 10, 1.0) == 0


def test_iou_of_disjoint_solids_is_zero():
    assert volume_iou(cube(), cube(corner=(3, 0, 0)), samples=2000) == 0


def test_comparison_serialises_to_json():
    result = compare(sphere(level=1), sphere(level=2), samples=100).as_dict()
    assert json.loads(json.dumps(result)) == result
    assert result["mesh"]["solid"] and result["truth"]["genus"] == 0


# protocols -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_read_their_sampling_floor_on_equal_surfaces(name):
    result = PROTOCOLS[name](sphere(level=5), sphere(level=5), samples=20_000)
    measured, floor = {
        "srb": ("d_c", "sampling_floor"),
        "convonet": ("chamfer_l1_x10", "sampling_floor_x10"),
        "points2surf": ("chamfer_x100", "sampling_floor_x100"),
    }[name]
    assert result[measured] == pytest.approx(result[floor], rel=0.02)
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("name", ["convonet", "points2surf"])
def test_protocols_in_the_unit_cube_do_not_see_the_frame(name):
    frame = Similarity(scale=1000.0, translation=UTM)
    near = PROTOCOLS[name](sphere(0.9, 3), sphere(1.0, 3), samples=2000)
    far = PROTOCOLS[name](sphere(0.9, 3).transformed(frame), sphere(1.0, 3).transformed(frame), samples=2000)
    for key, value in near.items():
        assert far[key] == pytest.approx(value, rel=1e-6), key


def test_convonet_on_concentric_spheres():
    result = PROTOCOLS["convonet"](sphere(0.95, 5), sphere(1.0, 5), samples=50_000)  # 0.025 apart in its frame
    assert result["chamfer_l1_x10"] == pytest.approx(0.25, rel=0.02)
    assert result["chamfer_l2"] == pytest.approx(0.025**2, rel=0.04)
    assert result["normals"] == pytest.approx(1, abs=0.001)
    assert result["f_score"] == {"0.01": 0.0, "0.015": 0.0, "0.02": 0.0}
    assert result["iou"] == pytest.approx(0.95**3, abs=0.005)


def test_srb_takes_all_points_of_a_cloud_and_reports_the_scan_one_way():
    mesh = sphere(1.0, 5)
    truth, scan = PointCloud(sphere(1.1, 4).vertices), PointCloud(np.array([[0, 0, 1.5], [0, 1.2, 0]]))
    result = PROTOCOLS["srb"](mesh, truth, scan=scan, samples=100_000)
    assert result["d_c"] == pytest.approx(0.1, abs=0.01)
    assert result["to_mesh"]["mean"] == pytest.approx(0.1, abs=0.002)
    assert result["scan_to_mesh"]["mean"] == pytest.approx(0.35, abs=0.005)
    assert result["scan_to_mesh"]["max"] == pytest.approx(0.5, abs=0.005)
    assert result["d_h"] == max(result["to_mesh"]["max"], result["to_truth"]["max"])


def test_points2surf_sum_is_its_mean_times_all_samples():
    result = PROTOCOLS["points2surf"](sphere(0.8, 4), sphere(1.0, 4), samples=5000)
    assert result["chamfer_sum"] == pytest.approx(result["chamfer_x100"] / 100 * 10_000)
    assert result["chamfer_x100"] == pytest.approx(10, rel=0.02) and result["hausdorff"] == pytest.approx(0.1, rel=0.1)
