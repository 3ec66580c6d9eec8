"""Checks, frames and measures of scans and meshes: closed forms and round trips."""

import dataclasses

import numpy as np
import pytest
import trimesh

from surfrecon.errors import InputError
from surfrecon.geometry import UNIT_HALF_SIDE, Mesh, PointCloud, Similarity, _hashes, check_extent, merge, object_bounds

UTM = np.array([8e5, 5.8e6, 300.0])
ULP = np.spacing(UTM.max())  # of a float64 in UTM: 1e-9 m
TRIANGLE = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def rotation(seed: int = 0) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def cloud(count: int = 100, offset=(0.0, 0.0, 0.0)) -> PointCloud:
    """Points of a box of sides 4, 2, 1 with everything that a cloud carries."""
    generator = random()
    points = generator.uniform([-2, -1, -0.5], [2, 1, 0.5], (count, 3)) + offset
    normals = generator.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    scalars = {"intensity": generator.integers(0, 65536, count).astype(np.uint16), "time": generator.random(count)}
    return PointCloud(points, normals, generator.random((count, 3)), scalars, origins=points + 5 * normals, crs="EPSG:25832")


def sphere(radius: float = 1.0, level: int = 3) -> Mesh:
    ball = trimesh.creation.icosphere(level, radius)
    return Mesh(ball.vertices, ball.faces)


# checks on creation ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(points=np.zeros((4, 2))), r"points must have shape \(any, 3\), got \(4, 2\)"),
        (dict(points=np.zeros(3)), r"points must have shape \(any, 3\), got \(3,\)"),
        (dict(points=[[0, 0, np.nan], [0, 0, 0], [np.inf, 0, np.nan]]), "points must be finite.* in 2 of 3 rows"),
        (dict(points=[[0, 0, 0], [0, 0]]), "points must be numbers, got list"),
        (dict(points=[["a", "b", "c"]]), "points must be numbers"),
        (dict(points=None), "points must"),
        (dict(points=TRIANGLE, normals=np.zeros((2, 3))), r"normals must have shape \(3, 3\), got \(2, 3\)"),
        (dict(points=TRIANGLE, normals=np.full((3, 3), np.nan)), "normals must be finite"),
        (dict(points=TRIANGLE, colors=np.zeros((3, 4))), r"colors must have shape \(3, 3\)"),
        (dict(points=TRIANGLE, origins=np.zeros((1, 3))), r"origins must have shape \(3, 3\)"),
        (dict(points=TRIANGLE, scalars={"time": np.zeros(2)}), r"scalar field 'time' must be 3 numbers, got shape \(2,\)"),
        (dict(points=TRIANGLE, scalars={"name": ["a", "b", "c"]}), "scalar field 'name' must be 3 numbers, got .* of <U1"),
    ],
)
def test_clouds_that_cannot_be_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        PointCloud(**arguments)


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([[0, 1, 3]], "a face names vertex 3, but there are 3 vertices"),
        ([[0, -1, 2]], "a face names vertex -1"),
        ([[0, 1.5, 2]], "faces must be whole numbers, got 1.5"),
        ([[0, 1, np.nan]], "faces must be whole numbers, got nan"),
        ([[0, 1]], r"faces must have shape \(any, 3\), got \(1, 2\)"),
        (1.5, r"faces must have shape \(any, 3\)"),
    ],
)
def test_meshes_that_cannot_be_say_what_is_wrong(faces, message):
    with pytest.raises(InputError, match=message):
        Mesh(TRIANGLE, faces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scale=0.0), "scale of a similarity must be > 0, got 0"),
        (dict(scale=-1.0), "must be > 0"),
        (dict(scale=np.nan), "must be > 0"),
        (dict(scale=np.inf), "must be > 0"),
        (dict(translation=np.zeros(2)), r"translation must have shape \(3\), got \(2,\)"),
        (dict(translation=[0, 0, np.nan]), "translation must be finite"),
        (dict(rotation=np.eye(4)), r"rotation must have shape \(3, 3\)"),
        (dict(rotation=np.diag([1, 1, -1])), "mirror"),
        (dict(rotation=2 * np.eye(3)), "orthogonal"),
    ],
)
def test_similarities_that_cannot_be_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Similarity(**arguments)


def test_arrays_are_read_only_and_contiguous_in_their_dtype():
    scan = cloud()
    mesh = Mesh(np.asfortranarray(TRIANGLE), np.array([[0, 1, 2]], np.uint8), colors=np.ones((3, 3)), scalars={"row": np.arange(6)[::2]})
    arrays = [scan.points, scan.normals, scan.colors, scan.origins, *scan.scalars.values()]
    arrays += [mesh.vertices, mesh.faces, mesh.colors, *mesh.scalars.values(), Similarity().translation, Similarity().rotation]
    for array in arrays:
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.colors.dtype) == (np.float64, np.int64, np.float32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mesh.vertices = mesh.vertices


def test_the_callers_arrays_stay_writeable():
    points, time = np.zeros((3, 3)), np.zeros(3)
    PointCloud(points, scalars={"time": time})
    points[0] = time[0] = 1


def test_scalars_keep_the_dtype_of_their_file():
    assert {name: value.dtype for name, value in cloud().scalars.items()} == {"intensity": np.uint16, "time": np.float64}


# frames ----------------------------------------------------------------------------------------------------------------------------


def test_similarity_equals_its_matrix():
    target_from_source = Similarity(0.3, [1, 2, 3], rotation())
    points = random().normal(size=(50, 3))
    homogeneous = np.column_stack([points, np.ones(50)]) @ target_from_source.matrix().T
    np.testing.assert_allclose(target_from_source.points(points), homogeneous[:, :3], atol=1e-14)
    np.testing.assert_allclose(target_from_source.matrix() @ target_from_source.inverse().matrix(), np.eye(4), atol=1e-14)
    other = Similarity(2.0, [-1, 0, 5], rotation().T)
    np.testing.assert_allclose(target_from_source.after(other).matrix(), target_from_source.matrix() @ other.matrix(), atol=1e-14)


@pytest.mark.parametrize("turn", [np.eye(3), rotation()], ids=["upright", "turned"])
def test_round_trip_in_utm_errs_by_a_few_units_in_the_last_place(turn):
    scan = cloud(offset=UTM)
    scale = 0.4
    unit_from_world = Similarity(scale, -scale * turn @ UTM, turn)
    unit = scan.transformed(unit_from_world)
    assert np.abs(unit.points).max() < 1
    np.testing.assert_allclose(unit.points, cloud().points @ (scale * turn.T), atol=2 * ULP)
    between = lambda points: points - points[0]  # exact in UTM: points near each other keep all their digits
    np.testing.assert_allclose(between(unit.points), between(scan.points) @ (scale * turn.T), atol=4e-15)
    back = unit.transformed(unit_from_world.inverse())
    np.testing.assert_allclose(back.points, scan.points, rtol=0, atol=4 * ULP)
    np.testing.assert_allclose(back.origins, scan.origins, rtol=0, atol=4 * ULP)
    np.testing.assert_allclose(back.normals, scan.normals, atol=1e-14)


def test_transformed_cloud_keeps_lengths_of_normals_and_all_that_has_no_place():
    scan = cloud()
    moved = scan.transformed(Similarity(3.0, UTM, rotation()))
    np.testing.assert_allclose(np.linalg.norm(moved.normals, axis=1), 1)
    np.testing.assert_allclose(moved.origins - moved.points, 15 * moved.normals, atol=20 * ULP)
    assert (moved.colors == scan.colors).all() and moved.crs == scan.crs
    assert all((moved.scalars[name] == value).all() for name, value in scan.scalars.items())


def test_transformed_mesh_scales_area_and_signed_volume():
    mesh = sphere()
    mesh = dataclasses.replace(mesh, normals=mesh.vertex_normals())
    moved = mesh.transformed(Similarity(2.0, UTM, rotation()))
    assert moved.area() == pytest.approx(4 * mesh.area(), rel=1e-8)
    assert moved.volume() == pytest.approx(8 * mesh.volume(), rel=1e-8)
    np.testing.assert_allclose(moved.normals, moved.vertex_normals(), atol=1e-7)


@pytest.mark.parametrize("offset", [np.zeros(3), UTM], ids=["origin", "utm"])
def test_fit_puts_the_longest_side_into_the_unit_box(offset):
    scan = PointCloud(np.array([[x, y, z] for x in (-2, 2) for y in (-1, 1) for z in (-0.5, 0.5)]) + offset)
    unit = scan.transformed(Similarity.fit(scan))
    np.testing.assert_allclose(unit.bounds(), UNIT_HALF_SIDE * np.array([[-1, -0.5, -0.25], [1, 0.5, 0.25]]), atol=4 * ULP)


def test_fit_does_not_see_outliers_at_a_hundred_times_the_object():
    scan = cloud(2000, UTM)
    outliers = UTM + 400 * random().normal(size=(80, 3))  # 4 %: either tail of an axis stays below the quantile of the core
    both = PointCloud(np.concatenate([scan.points, outliers]))
    alone, among = Similarity.fit(scan), Similarity.fit(both)
    assert among.scale == alone.scale
    np.testing.assert_array_equal(among.translation, alone.translation)


def test_object_bounds_keep_a_thin_part_that_sticks_out():
    mast = np.column_stack([np.zeros(20), np.zeros(20), np.linspace(0.5, 4, 20)])
    assert object_bounds(np.concatenate([cloud(2000).points, mast]))[1, 2] == 4


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.ones((1, 3)), np.full((9, 3), 5.8e6)], ids=["none", "one", "equal"])
def test_fit_refuses_scans_without_extent(points):
    with pytest.raises(InputError, match=r"holds no points|lie at one place"):
        Similarity.fit(PointCloud(points))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.zeros((9, 3)), "at one place"),
        (np.full((9, 3), 5.8e6) + np.arange(9)[:, None] * 1e-8, "at one place"),
        (1e-31 * np.eye(4, 3), "at one place"),
        (np.eye(3).repeat(5, axis=0), "at 3 places: a surface needs 4"),
        (np.linspace([8e5, 5.8e6, 0], [8e5 + 1, 5.8e6 + 2, 3], 50), "on one line"),
        (1e31 * np.eye(4, 3), r"reach 1e\+31"),
    ],
    ids=["equal", "rounding", "tiny", "three", "line", "huge"],
)
def test_an_extent_that_bounds_nothing_is_refused_with_its_reason(points, said):
    with pytest.raises(InputError, match=said):
        check_extent(PointCloud(points))


def test_an_extent_from_a_millionth_to_a_billion_is_enough_and_so_is_a_plane():
    for scale in (1e-6, 1.0, 1e9):
        check_extent(PointCloud(scale * cloud(100).points + scale))
    check_extent(PointCloud(cloud(100).points * [1, 1, 0]))


# measures ----------------------------------------------------------------------------------------------------------------------------


def test_spacing_is_the_side_of_the_square_that_one_point_stands_for():
    count = 10_000
    square = PointCloud(np.column_stack([random().random((count, 2)), np.zeros(count)]))
    assert square.spacing() == pytest.approx(1 / np.sqrt(count), rel=0.03)


def test_spacing_of_a_lattice_follows_its_eighth_neighbour():
    lattice = np.stack(np.meshgrid(np.arange(30), np.arange(30), [0]), -1).reshape(-1, 3)
    assert PointCloud(lattice).spacing() == pytest.approx(np.sqrt(2 * np.pi / 8))


def test_spacing_scales_with_the_cloud_and_survives_utm():
    scan = cloud(500)
    moved = scan.transformed(Similarity(10.0, UTM, rotation()))
    assert moved.spacing() == pytest.approx(10 * scan.spacing(), rel=1e-6)


def test_spacing_of_two_points_is_their_distance_times_root_pi_and_of_one_an_error():
    assert PointCloud([[0, 0, 0], [3, 0, 0]]).spacing() == pytest.approx(3 * np.sqrt(np.pi))
    with pytest.raises(InputError, match="at least 2 points, got 1"):
        PointCloud([[0, 0, 0]]).spacing()


def test_cube_has_its_volume_area_and_normals():
    box = trimesh.creation.box((1, 2, 3))
    mesh = Mesh(box.vertices + UTM, box.faces)
    assert mesh.volume() == pytest.approx(6, rel=1e-8) and mesh.area() == pytest.approx(22, rel=1e-8)
    assert Mesh(mesh.vertices, mesh.faces[:, ::-1]).volume() == pytest.approx(-6, rel=1e-8)
    np.testing.assert_allclose(mesh.area_vectors().sum(0), 0, atol=1e-8)  # of any closed mesh
    np.testing.assert_allclose(mesh.bounds(), UTM + np.array([[-0.5, -1, -1.5], [0.5, 1, 1.5]]))
    assert mesh.triangles().shape == (12, 3, 3)


def test_vertex_normals_of_a_sphere_are_radial_and_those_of_unused_vertices_zero():
    ball = sphere()
    mesh = Mesh(np.concatenate([ball.vertices, [[9, 9, 9]]]), ball.faces)
    normals = mesh.vertex_normals()
    assert np.einsum("vi,vi->v", normals[:-1], ball.vertices).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(normals[:-1], axis=1), 1)
    assert (normals[-1] == 0).all()


def test_mesh_without_faces_has_no_area_and_no_volume():
    mesh = Mesh(TRIANGLE, np.zeros((0, 3)))
    assert mesh.area() == mesh.volume() == 0 and (mesh.vertex_normals() == 0).all()


# parts and unions --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows", [slice(10, 20), np.arange(100) % 3 == 0, np.array([5, 5, 1]), slice(0, 0)], ids=["slice", "mask", "rows", "none"]
)
def test_part_of_a_cloud_takes_everything_along(rows):
    scan = cloud()
    part = scan[rows]
    for name in ("points", "normals", "colors", "origins"):
        np.testing.assert_array_equal(getattr(part, name), getattr(scan, name)[rows])
    assert {name: value.tolist() for name, value in part.scalars.items()} == {
        name: value[rows].tolist() for name, value in scan.scalars.items()
    }
    assert len(part) == len(part.points) and part.crs == scan.crs


def test_distinct_keeps_the_first_of_each_place_in_order_and_takes_zero_of_either_sign_as_one():
    places = np.array([[3.0, 0, 1], [0.0, 0, 0], [1, 1, 1], [-0.0, 0, -0.0], [3, 0, 1], [1, 1, 1 + 2**-52], [0, 0, 0]])
    kept = PointCloud(places, scalars={"row": np.arange(7)}).distinct()
    assert kept.scalars["row"].tolist() == [0, 1, 2, 5]
    whole = cloud()
    assert whole.distinct() is whole


@pytest.mark.parametrize("hashes", [lambda points: np.zeros(len(points), np.uint64), None], ids=["all of one hash", "as they are"])
def test_distinct_is_exact_whatever_the_hashes(hashes, monkeypatch):
    if hashes:
        monkeypatch.setattr("surfrecon.geometry._hashes", hashes)
    points = np.random.default_rng(5).integers(-3, 3, (500, 3)).astype(float)
    first = np.sort(np.unique(points, axis=0, return_index=True)[1])
    assert np.array_equal(PointCloud(points).distinct().points, points[first])


def test_lattice_points_have_hashes_of_their_own():
    axis = np.arange(60) / 7
    lattice = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    assert len(np.unique(_hashes(lattice))) == len(np.unique(_hashes(lattice + UTM))) == len(lattice)


def test_merging_the_parts_of_a_cloud_gives_the_cloud():
    scan = cloud()
    again = merge([scan[:30], scan[30:30], scan[30:]])
    for name in ("points", "normals", "colors", "origins"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scan, name))
    assert {name: (value.dtype, value.tolist()) for name, value in again.scalars.items()} == {
        name: (value.dtype, value.tolist()) for name, value in scan.scalars.items()
    }
    assert again.crs == scan.crs


def test_merge_keeps_what_all_clouds_have():
    scan = cloud()
    both = merge([scan, PointCloud(scan.points, colors=scan.colors, scalars={"time": np.zeros(100), "row": np.arange(100)})])
    assert len(both) == 200 and both.colors.shape == (200, 3) and both.crs == "EPSG:25832"
    assert both.normals is None and both.origins is None and list(both.scalars) == ["time"]


def test_merge_refuses_nothing_and_mixed_reference_systems():
    with pytest.raises(InputError, match="no scan to merge"):
        merge([])
    with pytest.raises(InputError, match="2 different coordinate reference systems"):
        merge([PointCloud(TRIANGLE, crs="EPSG:25832"), PointCloud(TRIANGLE, crs="EPSG:25833")])
