"""DTU's protocol on spheres, whose distances are known; its thinning against the slow greedy one."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from scipy.io import savemat
from scipy.spatial import cKDTree
from solids import ball, together

from surfrecon.dtu import FARTHEST, Observed, apart, cull, dtu_score, lattice_points, read_observed, read_plane
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh

EVERYWHERE = np.array([0.0, 0, 0, 1])
SPACING = 0.5  # mm
BOX = np.array([[-20.0] * 3, [20.0] * 3])


def observed(condition=lambda x, y, z: np.ones_like(x, bool), cell: float = 1.0) -> Observed:
    axes = [np.arange(low, high + cell / 2, cell) for low, high in BOX.T]
    return Observed(condition(*np.meshgrid(*axes, indexing="ij")), BOX, cell)


def sphere_points(radius: float, spacing: float = 0.1) -> np.ndarray:
    """(N, 3) evenly on a sphere: Fibonacci's lattice."""
    count = int(4 * np.pi * radius**2 / spacing**2)
    z = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (1 + 5**0.5) * np.arange(count)
    across = np.sqrt(1 - z**2)
    return radius * np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


def test_concentric_spheres_are_apart_by_the_difference_of_their_radii():
    for spacing in (SPACING, SPACING / 2):
        score = dtu_score(ball(10.0), sphere_points(11.0), observed(), EVERYWHERE, spacing=spacing)
        assert score.accuracy == pytest.approx(1, abs=0.01)
        assert 1 < score.completeness < np.sqrt(1 + 1.1 * spacing**2)  # to points that lie up to the spacing aside, not to the surface
        assert score.overall == (score.accuracy + score.completeness) / 2


def test_a_mask_that_cuts_half_away_leaves_out_that_half_of_the_mesh_but_not_of_the_scan():
    outer = sphere_points(11.0, 0.2), sphere_points(13.0, 0.2)
    truth = np.concatenate([outer[0][outer[0][:, 0] > 0], outer[1][outer[1][:, 0] < 0]])  # 1 mm off on one side, 3 on the other
    half = observed(lambda x, y, z: x > 0.5)
    whole = dtu_score(ball(10.0), truth, observed(), EVERYWHERE, spacing=SPACING)
    cut = dtu_score(ball(10.0), truth, half, EVERYWHERE, spacing=SPACING)
    x = (np.arange(1000) + 0.5) / 1000  # evenly on a sphere; near the border the other half is nearer than 3 mm
    beyond = np.minimum(3, np.sqrt(10**2 + 11**2 - 2 * 10 * 11 * np.sqrt(1 - x**2))).mean()
    assert whole.accuracy == pytest.approx((1 + beyond) / 2, abs=0.02) and cut.accuracy == pytest.approx(1, abs=0.02)
    share = 13**2 / (11**2 + 13**2)
    assert cut.completeness == whole.completeness == pytest.approx(1 + 2 * share, abs=0.05)
    above = dtu_score(ball(10.0), truth, half, np.array([1.0, 0, 0, 0]), spacing=SPACING)
    assert above.completeness == pytest.approx(1, abs=0.06) and above.accuracy == cut.accuracy


def test_what_is_far_from_the_other_side_does_not_count():
    far = sphere_points(2.0) + np.array([0, 0, 14 + FARTHEST])
    mesh = together(ball(10.0), ball(2.0, (0, 0, 200.0)))  # beyond the box by more than twice the patch
    near = dtu_score(ball(10.0), sphere_points(11.0), observed(), EVERYWHERE, spacing=SPACING)
    both = dtu_score(mesh, np.concatenate([sphere_points(11.0), far]), observed(), EVERYWHERE, spacing=SPACING)
    assert both.completeness == pytest.approx(near.completeness, abs=2e-3) and both.accuracy == pytest.approx(near.accuracy, abs=2e-3)


def test_sides_in_other_frames_are_refused():
    with pytest.raises(InputError, match="in millimetres"):
        dtu_score(ball(10.0, level=2), sphere_points(11.0) + 1000, observed(), EVERYWHERE, spacing=SPACING)
    with pytest.raises(InputError, match="no point of the mesh"):
        dtu_score(ball(10.0, level=2), sphere_points(11.0), observed(lambda x, y, z: x > 99), EVERYWHERE, spacing=SPACING)


@pytest.mark.parametrize("corner", [(0.0, 4.0, 0.0), (3.0, 4.0, 0.0)], ids=["right", "slanted"])
def test_lattice_has_one_point_for_each_square_of_the_spacing(corner):
    mesh = Mesh(np.array([[0.0, 0, 0], [6.0, 0, 0], corner]), [[0, 1, 2]])
    points = lattice_points(mesh, 0.1)
    assert len(points) == pytest.approx(mesh.area() / 0.1**2, rel=0.05)
    a, b = mesh.vertices[1:, :2]
    u, v = np.linalg.solve(np.stack([a, b], axis=1), points[:, :2].T)
    assert (u > 0).all() and (v > 0).all() and (u + v < 1).all() and (points[:, 2] == 0).all()


def test_small_and_flat_faces_get_no_lattice_and_chunks_change_nothing(monkeypatch):
    flat = Mesh(np.array([[0.0, 0, 0], [6.0, 0, 0], [3.0, 0, 0], [0, 0.05, 0]]), [[0, 1, 2], [0, 1, 3]])
    assert len(lattice_points(Mesh(flat.vertices, flat.faces[:1]), 0.1)) == 0
    assert len(lattice_points(ball(1.0, level=4), 1.0)) == 0
    whole = lattice_points(ball(1.0, level=2), 0.05)
    monkeypatch.setattr("surfrecon.dtu.MOST_SAMPLES", 100)
    np.testing.assert_array_equal(lattice_points(ball(1.0, level=2), 0.05), whole)


def greedy(points: np.ndarray, radius: float) -> int:
    """Number of points that the protocol's own loop keeps."""
    keep = np.ones(len(points), bool)
    near = cKDTree(points).query_ball_point(points, radius)
    for row in range(len(points)):
        if keep[row]:
            keep[near[row]] = False
            keep[row] = True
    return int(keep.sum())


@pytest.mark.parametrize("flat", [True, False], ids=["plane", "volume"])
def test_thinned_points_are_apart_cover_all_and_are_as_many_as_the_greedy_ones(flat):
    points = np.random.default_rng(0).random((6000, 3)) * [1, 1, 0 if flat else 1] + 5.8e3
    radius = 0.04 if flat else 0.12
    kept = apart(points, radius)
    distance = cKDTree(points[kept]).query(points[kept], 2)[0][:, 1]
    assert distance.min() >= radius
    assert cKDTree(points[kept]).query(points)[0].max() < radius
    assert len(kept) == pytest.approx(greedy(points, radius), rel=0.06)


def test_thinning_does_not_depend_on_the_order():
    points = np.random.default_rng(0).random((3000, 3))
    order = np.random.default_rng(1).permutation(len(points))
    assert set(order[apart(points[order], 0.1)]) == set(apart(points, 0.1))


def test_thinning_of_few_points():
    assert apart(np.zeros((0, 3)), 0.1).tolist() == []
    assert apart(np.ones((1, 3)), 0.1).tolist() == [0]
    assert len(apart(np.ones((5, 3)), 0.1)) == 1
    with pytest.raises(InputError, match="widen it"):
        apart(np.array([[0.0] * 3, [1e9] * 3]), 0.1)


def test_culling_drops_what_falls_beside_a_mask_and_keeps_the_object():
    views = replace(ellipsoid(12), depths=None)
    body, debris = ball(AXES, CENTRE, level=3), ball(0.1, CENTRE + np.array([0, 1.1, 0]), level=1)
    culled = cull(together(body, debris), views)
    assert len(culled.faces) == len(body.faces) and len(culled.vertices) == len(body.vertices)
    assert len(cull(together(body, debris), views, dilation=200).faces) == len(body.faces) + len(debris.faces)
    assert len(cull(ball(1.3 * AXES, CENTRE, level=3), views, dilation=2).faces) < 0.5 * len(body.faces)
    with pytest.raises(InputError, match="don't carry"):
        cull(body, replace(views, masks=None))


def test_observed_volume_and_plane_come_out_of_their_files(tmp_path):
    mask = np.random.default_rng(0).random((5, 6, 7)) > 0.5
    savemat(tmp_path / "ObsMask24_10.mat", {"ObsMask": mask.astype(np.uint8), "BB": BOX, "Res": np.array([[8.0]])})
    savemat(tmp_path / "Plane24.mat", {"P": np.array([[0.1], [0.2], [0.3], [-4.0]])})
    found = read_observed(tmp_path / "ObsMask24_10.mat")
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.box, BOX)
    assert found.cell == 8.0
    np.testing.assert_allclose(read_plane(tmp_path / "Plane24.mat"), [0.1, 0.2, 0.3, -4.0])
    place = np.array([[2, 3, 1]])
    assert found.holds(BOX[0] + 8.0 * place + 3.9).tolist() == [mask[2, 3, 1]]
    assert found.holds(BOX[0][None] - 5).tolist() == [False]


@pytest.mark.parametrize("content", [None, b"", b"MATLAB 5.0 MAT-file, but cut", {"P": "text"}, {"Q": np.zeros(4)}, {"P": np.zeros(3)}])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "Plane1.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        savemat(path, content)
    with pytest.raises(InputError, match=r"Plane1\.mat"):
        read_plane(path)
