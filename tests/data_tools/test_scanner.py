import numpy as np
import pytest

from surfrecon.data_tools import simulate
from surfrecon.data_tools.scanner import scan
from surfrecon.data_tools.shapes import mesh_of, named, torus
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity, directions_around
from surfrecon.pictures import cast_rays

POINTS, OUTLIERS, NOISE = 6000, 0.05, 0.002
INLIERS = POINTS - round(OUTLIERS * POINTS)


@pytest.fixture(scope="module", params=[(0, 0, 0), (8e5, 5.8e6, 300)], ids=["origin", "UTM"])
def mesh(request) -> Mesh:
    return mesh_of(torus(1.0, 0.4), 64).transformed(Similarity(translation=np.array(request.param, float)))


@pytest.fixture(scope="module")
def cloud(mesh):
    return scan(mesh, points=POINTS, depth_noise=NOISE, outliers=OUTLIERS, normals=True)


def test_inliers_lie_on_their_rays_with_the_noise_asked_for(mesh, cloud):
    rays = (cloud.points - cloud.origins)[:INLIERS]
    depth = np.linalg.norm(rays, axis=1)
    error = depth - cast_rays(mesh, cloud.origins[:INLIERS], rays / depth[:, None])[0]
    sigma = NOISE * np.linalg.norm(np.ptp(mesh.bounds(), axis=0))
    assert np.abs(error).max() < 5 * sigma
    assert error.std() == pytest.approx(sigma, rel=0.05)


def test_points_face_their_sensor(cloud):
    facing = np.einsum("ni,ni->n", cloud.normals, cloud.origins - cloud.points)
    assert (facing[:INLIERS] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(cloud.normals[:INLIERS], axis=1), 1)


def test_outliers_come_last_in_the_share_asked_for(mesh, cloud):
    assert len(cloud) == POINTS
    assert (cloud.normals[INLIERS:] == 0).all()
    low, high = mesh.bounds()
    offset = np.abs(cloud.points[INLIERS:] - (low + high) / 2) / (high - low)
    assert offset.max() <= 0.55  # of a side: the box is 1.1 times the mesh's
    np.testing.assert_allclose(offset.mean(axis=0), 0.275, atol=0.04)  # uniform


def test_sensor_id_names_the_origin_and_every_sensor_sees_something(cloud):
    sensors = cloud.scalars["sensor_id"]
    assert sensors.dtype == np.uint8 and set(sensors) == set(range(7))
    assert all(len(np.unique(cloud.origins[sensors == i], axis=0)) == 1 for i in range(7))


def test_same_seed_same_bytes_and_another_seed_another_scan(mesh, cloud):
    again = scan(mesh, points=POINTS, depth_noise=NOISE, outliers=OUTLIERS, normals=True)
    assert again.points.tobytes() == cloud.points.tobytes()
    assert scan(mesh, points=POINTS, seed=1).points.tobytes() != cloud.points.tobytes()


def test_one_sensor_sees_one_side():
    ball = mesh_of(named("sphere"), 48)
    cloud = scan(ball, views=1, points=2000, depth_noise=0, outliers=0)
    away = cloud.points @ (cloud.origins[0] / np.linalg.norm(cloud.origins[0]))
    assert away.min() > 1 / np.linalg.norm(cloud.origins[0]) - 0.01  # the horizon of a unit ball seen from there


def test_directions_are_unit_and_balanced():
    directions = directions_around(50)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.abs(directions.mean(axis=0)).max() < 0.01


@pytest.mark.parametrize(
    "options, text", [({"views": 0}, "0 views"), ({"points": 0}, "0 points"), ({"outliers": 1.0}, "outliers"), ({"depth_noise": -1}, "-1")]
)
def test_bad_options_are_named(mesh, options, text):
    with pytest.raises(InputError, match=text):
        scan(mesh, **options)


def test_simulate_writes_a_scan_with_origins_and_its_truth(tmp_path):
    from surfrecon.io import read_mesh, read_scan

    files = tmp_path / "scan.ply", tmp_path / "truth.ply"
    options = ["--points", "2000", "--resolution", "48", "--truth", str(files[1])]
    assert simulate.main(["torus", "-o", str(files[0]), *options]) == 0
    cloud, truth = read_scan(files[0]), read_mesh(files[1])
    assert len(cloud) == 2000 and cloud.origins is not None and "sensor_id" in cloud.scalars
    assert truth.volume() == pytest.approx(2 * np.pi**2 * 0.4**2, rel=0.01)
    assert simulate.main([str(files[1]), "-o", str(files[0]), "--points", "500", "--no-origins"]) == 0
    again = read_scan(files[0])
    assert len(again) == 500 and again.origins is None
