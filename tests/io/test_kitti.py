"""KITTI's files without header: what is one, and what can't be."""

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan


def scan_of(tmp_path, content: bytes) -> PointCloud:
    (tmp_path / "scan.bin").write_bytes(content)
    return read_scan(tmp_path / "scan.bin")


@pytest.fixture
def table(rng) -> np.ndarray:
    return np.column_stack([rng.uniform(-80, 80, (2000, 3)), rng.random(2000)]).astype("<f4")


def test_points_are_seen_from_the_origin(tmp_path, table):
    cloud = scan_of(tmp_path, table.tobytes())
    assert np.array_equal(cloud.points, table[:, :3]) and np.array_equal(cloud.scalars["intensity"], table[:, 3])
    assert cloud.origins.shape == (2000, 3) and not cloud.origins.any()


def test_a_stray_point_is_left_out_with_a_warning(tmp_path, table, caplog):
    table[7, 1] = np.nan
    cloud = scan_of(tmp_path, table.tobytes())
    assert np.array_equal(cloud.points, np.delete(table[:, :3], 7, axis=0)) and "left out 1 of 2000" in caplog.text


BAD = {
    "empty": (b"", "has 0 bytes"),
    "cut": (bytes(17), "has 17 bytes"),
    "zeros": (bytes(1600), "at one place"),
    "text": (b"1.0 2.0 3.0 4.0\n" * 100, "no KITTI scan"),
    "noise": (np.random.default_rng(0).bytes(1600), "no KITTI scan"),
    "doubles": (np.random.default_rng(0).uniform(-80, 80, 400).tobytes(), "no KITTI scan"),
    "all NaN": (np.full(400, np.nan, "<f4").tobytes(), "no KITTI scan"),
    "far": ((np.arange(400, dtype="<f4") * 1e4).tobytes(), "no KITTI scan"),
}


@pytest.mark.parametrize("content, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason) as caught:
        scan_of(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'scan.bin'}: ") and "\n" not in str(caught.value)


def test_real_scan(data):
    cloud = read_scan(data("lidar/kitti_000008.bin"))
    assert len(cloud) == 17_238 and np.linalg.norm(cloud.points, axis=1).max() < 100 and cloud.scalars["intensity"].max() <= 1
