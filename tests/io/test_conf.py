"""Stanford's lists of range scans: poses by the inverse rotation, where each scan was seen from, lists that lie."""

import zipfile

import numpy as np
import pytest
from scipy.spatial import cKDTree

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_mesh, read_scan, write_scan

HALF = np.sqrt(0.5)


@pytest.fixture
def scans(tmp_path, rng):
    """Two range scans and a list that turns the second by 90 degrees about z, and the points of each in its own frame."""
    points = rng.uniform(-1, 1, (2, 50, 3))
    for name, own in zip("ab", points):
        write_scan(PointCloud(own), tmp_path / f"{name}.ply")
    lines = ["camera 1 2 3 0 0 0 1", "bmesh a.ply 0 0 0 0 0 0 1", "", f"bmesh b.ply 10 20 30 0 0 {HALF} {HALF}", "mesh c.ply 1 2 3 0 0 0 1"]
    (tmp_path / "scan.conf").write_text("\n".join(lines))
    return tmp_path / "scan.conf", points


def test_scans_are_placed_by_the_inverse_of_their_quaternions_rotation(scans):
    path, (first, second) = scans
    cloud = read_scan(path)
    turned = np.column_stack([second[:, 1] + 10, 20 - second[:, 0], second[:, 2] + 30])  # by -90 degrees: y becomes x
    assert np.abs(cloud.points - np.vstack([first, turned])).max() < 1e-6
    assert cloud.scalars["scan"].tolist() == [0] * 50 + [1] * 50


def test_every_point_was_seen_from_above_its_scans_frame(scans):
    cloud = read_scan(scans[0])
    rays = cloud.origins - cloud.points
    assert np.allclose(rays / np.linalg.norm(rays, axis=1, keepdims=True), [0, 0, 1]) and (rays[:, 2] > 10).all()


BAD = {
    "no scan": ("camera 1 2 3 0 0 0 1\n", "places no range scan"),
    "too few numbers": ("bmesh a.ply 0 0 0 0 0 1\n", "expected FILE tx ty tz"),
    "a word": ("bmesh a.ply 0 0 0 0 0 0 one\n", "expected FILE tx ty tz"),
    "not finite": ("bmesh a.ply nan 0 0 0 0 0 1\n", "expected FILE tx ty tz"),
    "no name": ("bmesh\n", "expected FILE tx ty tz"),
    "a quaternion of nothing": ("bmesh a.ply 0 0 0 0 0 0 0\n", "quaternion of its scan 'a.ply' must be finite and not zero"),
    "a file elsewhere": ("bmesh ../a.ply 0 0 0 0 0 0 1\n", "in the same folder"),
    "another kind of file": ("bmesh a.conf 0 0 0 0 0 0 1\n", "expected a PLY file"),
    "a file that isn't there": ("bmesh z.ply 0 0 0 0 0 0 1\n", "is missing"),
    "too long": (" " * 2**21, "no list of range scans"),
}


@pytest.mark.parametrize("text, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_list_is_refused_in_one_sentence_that_names_it(scans, text, reason):
    path, _ = scans
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read_scan(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_the_bunnys_scans_lie_on_its_mesh_and_were_seen_from_outside(tmp_path, data):
    with zipfile.ZipFile(data("raw_scan_bunny/range_scans_original.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith((".conf", "bun045.ply", "chin.ply"))]
        archive.extractall(tmp_path, names)
    lines = (tmp_path / "bun.conf").read_text().splitlines()
    (tmp_path / "bun.conf").write_text("\n".join(line for line in lines if "bun045" in line or "chin" in line))
    mesh, cloud = read_mesh(data("raw_scan_bunny/reference_mesh.ply")), read_scan(tmp_path / "bun.conf")[::20]
    off, nearest = cKDTree(mesh.vertices).query(cloud.points)
    facing = np.einsum("ni,ni->n", cloud.origins - cloud.points, mesh.vertex_normals()[nearest]) > 0
    assert np.median(off) < 6e-4 and facing.mean() > 0.99  # metres: the mesh's vertices are a millimetre apart
