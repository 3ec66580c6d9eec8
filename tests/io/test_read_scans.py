"""Several files as one scan, and selections while reading."""

import laspy
import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan, read_scans, write_scan
from surfrecon.selection import NothingSelectedError, Selection, selected

PLACE = np.array([8e5, 5.8e6, 100.0])
SUFFIXES = pytest.mark.parametrize("suffix", ["las", "laz"])


@pytest.fixture
def tile(tmp_path, rng):
    """A function that writes a LAS or LAZ file of 500 points, one unit wide, and gives its path."""

    def write(name: str, east: float = 0, form: int = 6, crs: str | None = None):
        header = laspy.LasHeader(version="1.4" if form >= 6 else "1.2", point_format=form)
        header.offsets, header.scales = PLACE, [1e-4] * 3
        if crs:
            header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(crs))
        las = laspy.LasData(header)
        las.x, las.y, las.z = (PLACE + np.array([east, 0, 0]) + rng.random((500, 3))).T
        las.classification, las.intensity = rng.integers(1, 6, 500), rng.integers(1, 99, 500)
        las.write(str(tmp_path / name))
        return tmp_path / name

    return write


@SUFFIXES
@pytest.mark.parametrize("form", [3, 6])
@pytest.mark.parametrize("batch", [64, 2**20])
def test_selecting_while_reading_gives_what_selecting_afterwards_gives(tile, suffix, form, batch, monkeypatch):
    monkeypatch.setattr("surfrecon.io.las.BATCH", batch)
    path, selection = tile(f"scan.{suffix}", form=form), Selection(crop=[*(PLACE + 0.2), *(PLACE + 0.9)], classes=[2, 5])
    direct, afterwards = read_scan(path, selection), selected(read_scan(path), selection)
    assert 20 < len(direct) < 200 and np.array_equal(direct.points, afterwards.points)
    assert all(np.array_equal(direct.scalars[name], afterwards.scalars[name]) for name in ("classification", "intensity"))


@SUFFIXES
def test_a_file_that_holds_nothing_selected_says_what_it_holds(tile, suffix):
    with pytest.raises(NothingSelectedError, match=r"is of class 9: they span .* and are of class 1, 2, 3, 4, 5"):
        read_scan(tile(f"scan.{suffix}"), Selection(classes=[9]))
    with pytest.raises(NothingSelectedError, match=r"in the crop from \[0.0, 0.0, 0.0\] .* they span \[80000"):
        read_scan(tile(f"scan.{suffix}"), Selection(crop=[0, 0, 0, 1, 1, 1]))


def test_tiles_outside_of_the_crop_are_passed_over(tile):
    files = [tile("a.laz"), tile("b.laz", east=1), tile("c.laz", east=2)]
    cloud = read_scans(files, Selection(crop=[*PLACE, *(PLACE + 1)]))
    assert np.array_equal(cloud.points[:500], read_scan(files[0]).points) and len(cloud) == 500
    with pytest.raises(NothingSelectedError, match="none of the 3 files"):
        read_scans(files, Selection(crop=[0, 0, 0, 1, 1, 1]))


def test_voxels_are_those_of_the_whole(tile):
    files = [tile("a.laz"), tile("b.laz")]
    assert len(read_scans(files, Selection(voxel=5.0))) == 1 and len(read_scans(files[:1], Selection(voxel=5.0))) == 1


def test_files_in_different_systems_are_refused_and_one_that_names_none_is_told_of(tile, tmp_path, caplog):
    east, west = tile("a.las", crs="EPSG:25832"), tile("b.las", crs="EPSG:25833")
    with pytest.raises(InputError, match="'EPSG:25832' and 'EPSG:25833'"):
        read_scans([east, west])
    assert read_scans([east, tile("c.las")]).crs == "EPSG:25832" and "c.las names no coordinate reference system" in caplog.text


def test_what_only_some_files_carry_is_left_out_and_told(tmp_path, cloud, caplog):
    write_scan(cloud, tmp_path / "all.ply")
    write_scan(PointCloud(cloud.points, scalars={"time": cloud.scalars["time"]}, crs=cloud.crs), tmp_path / "bare.ply")
    both = read_scans([tmp_path / "all.ply", tmp_path / "bare.ply"])
    assert len(both) == 2 * len(cloud) and [*both.scalars] == ["time"] and both.origins is None and both.normals is None
    for words in ("normals are left out", "colours are left out", "sensor origins are left out", "left out: intensity"):
        assert words in caplog.text


def test_units_that_differ_are_refused():
    from surfrecon.geometry import merge

    with pytest.raises(InputError, match=r"different units \(ft, m\)"):
        merge([PointCloud(np.eye(3), unit="m"), PointCloud(np.eye(3), unit="ft")])
    with pytest.raises(InputError, match="one of mm, cm, m, ft, us-ft, got 'parsec'"):
        PointCloud(np.eye(3), unit="parsec")
