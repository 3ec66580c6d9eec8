"""LAS and LAZ as laspy writes them, and headers that lie."""

import struct

import laspy
import numpy as np
import pytest
from laspy.vlrs.known import WktCoordinateSystemVlr

from surfrecon.errors import InputError
from surfrecon.io import read_scan

OFFSET, STEP = np.array([8e5, 5.8e6, 100.0]), 0.001
WKT = 'PROJCS["ETRS89 / UTM zone 32N",AUTHORITY["EPSG","25832"]]'
VERSIONS = {0: "1.2", 1: "1.2", 2: "1.2", 3: "1.2", 6: "1.4", 7: "1.4", 8: "1.4"}  # point format -> LAS version
BRIGHT = [2, 3, 7, 8]  # the point formats with colours
SUFFIXES = pytest.mark.parametrize("suffix", ["las", "laz"])
FORMATS = pytest.mark.parametrize("form", VERSIONS)


@pytest.fixture
def las(rng):
    """A function that makes laspy's object: 300 points, all of its fields in use."""

    def make(form: int, count: int = 300, dark: bool = False) -> laspy.LasData:
        header = laspy.LasHeader(version=VERSIONS[form], point_format=form)
        header.offsets, header.scales = OFFSET, [STEP] * 3
        header.add_extra_dims([laspy.ExtraBytesParams("quality", "f4"), laspy.ExtraBytesParams("normal", "3f8")])
        las = laspy.LasData(header)
        las.x, las.y, las.z = (OFFSET + rng.uniform(-500, 500, (count, 3)).round(3)).T
        las.intensity = rng.integers(0, 65536, count)
        las.classification = rng.integers(0, 32, count)
        las.return_number = rng.integers(1, 6, count)
        las.quality = rng.random(count)
        las.normal = rng.random((count, 3))
        if form != 0 and form != 2:
            las.gps_time = 1e9 + rng.random(count)
        if form in BRIGHT and not dark:
            las.red, las.green, las.blue = rng.integers(0, 65536, (3, count))
        return las

    return make


def written(tmp_path, las: laspy.LasData, suffix: str = "las"):
    las.write(str(tmp_path / f"scan.{suffix}"))
    return tmp_path / f"scan.{suffix}"


def patched(path, at: int, form: str, *values) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, *values)
    path.write_bytes(content)


def refused(path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_scan(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@SUFFIXES
@FORMATS
def test_coordinates_are_integers_times_scale_plus_offset_in_float64(tmp_path, las, form, suffix):
    source = las(form)
    cloud = read_scan(written(tmp_path, source, suffix))
    assert np.array_equal(cloud.points, np.column_stack([source.X, source.Y, source.Z]) * STEP + OFFSET)


@SUFFIXES
@FORMATS
def test_every_field_in_use_keeps_its_value_and_type(tmp_path, las, form, suffix):
    source = las(form)
    scalars = read_scan(written(tmp_path, source, suffix)).scalars
    used = ["intensity", "classification", "return_number", "quality"] + (["gps_time"] if form not in (0, 2) else [])
    assert sorted(scalars) == sorted(used)
    for name in used:
        assert np.array_equal(scalars[name], source[name]) and scalars[name].dtype == np.asarray(source[name]).dtype


@SUFFIXES
@pytest.mark.parametrize("form", BRIGHT)
@pytest.mark.parametrize("top", [255, 65535])
def test_colours_of_8_or_16_bits_become_srgb_between_0_and_1(tmp_path, las, form, suffix, top):
    source = las(form)
    source.red, source.green, source.blue = [top] + [0] * 299, [top // 5] * 300, [0] * 300
    colors = read_scan(written(tmp_path, source, suffix)).colors
    assert colors.dtype == np.float32 and np.allclose(colors[0], [1, 0.2, 0]) and np.allclose(colors[1:], [0, 0.2, 0])


@pytest.mark.parametrize("form", VERSIONS)
def test_no_colours_where_there_are_none(tmp_path, las, form):
    assert read_scan(written(tmp_path, las(form, dark=True))).colors is None


@SUFFIXES
def test_one_point(tmp_path, las, suffix):
    assert len(read_scan(written(tmp_path, las(3, count=1), suffix))) == 1


@SUFFIXES
def test_more_points_than_are_decoded_at_a_time(tmp_path, las, suffix, monkeypatch):
    monkeypatch.setattr("surfrecon.io.las.BATCH", 128)
    source = las(7)
    cloud = read_scan(written(tmp_path, source, suffix))
    assert np.array_equal(cloud.points[:, 0], source.x) and np.array_equal(cloud.scalars["gps_time"], source.gps_time)


@SUFFIXES
@pytest.mark.parametrize("form, place", [(3, "vlrs"), (7, "vlrs"), (7, "evlrs")])
def test_the_coordinate_system_is_the_text_of_its_record(tmp_path, las, form, place, suffix):
    source = las(form)
    record = WktCoordinateSystemVlr(WKT)
    if place == "vlrs":
        source.header.vlrs.append(record)
    else:
        source.header.evlrs = laspy.vlrs.vlrlist.VLRList([record])
    assert read_scan(written(tmp_path, source, suffix)).crs == WKT


@pytest.mark.parametrize("key, code, crs", [(3072, 25832, "EPSG:25832"), (2048, 4326, "EPSG:4326"), (3072, 32767, "ETRS89 / mine|")])
def test_geotiff_keys_give_an_epsg_code_or_their_text(tmp_path, las, key, code, crs):
    source = las(3)
    keys = struct.pack("<12H", 1, 1, 0, 2, 1024, 0, 1, 1, key, 0, 1, code)
    source.header.vlrs += [
        laspy.VLR("LASF_Projection", 34735, "", keys),
        laspy.VLR("LASF_Projection", 34737, "", b"ETRS89 / mine|\0"),
        laspy.VLR("somebody else", 2112, "", b"no coordinate system"),
    ]
    assert read_scan(written(tmp_path, source)).crs == crs


def test_a_file_without_coordinate_system_has_none(tmp_path, las):
    assert read_scan(written(tmp_path, las(3))).crs is None


def test_coordinates_that_overflow_are_refused(tmp_path, las):
    path = written(tmp_path, las(3))
    patched(path, 131, "<d", 1e308)  # the scale of x
    refused(path, "NaN or infinite")


# Places in the public header: version 24, header's length 94, start of points 96, records 100, point format 104, its bytes 105, points 107
# (LAS 1.4: 247), scales 131, offsets 155, extended records 235 and their number 243.
LIES = {
    "4 billion points": (3, 107, "<I", 2**32 - 1, "promises 4294967295 points"),
    "no points": (3, 107, "<I", 0, "no points"),
    "10^19 points": (7, 247, "<Q", 10**19, "promises 10+ points"),
    "points behind the end": (3, 96, "<I", 2**32 - 1, "behind byte 4294967295"),
    "points within the header": (3, 96, "<I", 100, "behind byte 100"),
    "a header of no length": (3, 94, "<H", 0, "it is damaged"),
    "a billion records": (3, 100, "<I", 10**9, "1000000000 records"),
    "more records than there is room for": (3, 100, "<I", 50, "50 variable length records"),
    "a billion extended records": (7, 243, "<I", 10**9, "it is damaged"),
    "extended records behind the end": (7, 235, "<QI", 2**63, 3, "promises 3 variable length records"),
    "a point format that doesn't exist": (3, 104, "B", 63, "point format 63"),
    "points of no bytes": (3, 105, "<H", 0, "0 bytes per point"),
    "points of too few bytes": (3, 105, "<H", 33, "33 bytes per point"),
    "a scale of zero": (3, 131, "<d", 0.0, "scale"),
    "a scale that is no number": (3, 139, "<d", float("nan"), "scale"),
    "an infinite offset": (3, 155, "<d", float("inf"), "offset"),
    "another signature": (3, 0, "4s", b"LASX", "LASF"),
}


@SUFFIXES
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lying_header_is_refused_before_points_are_decoded(tmp_path, las, suffix, monkeypatch, lie):
    form, at, kind, *values, reason = lie
    path = written(tmp_path, las(form), suffix)
    if suffix == "laz" and kind == "B":
        values = [values[0] | 0x80]  # LAZ marks the point format so
    patched(path, at, kind, *values)
    monkeypatch.setattr(laspy, "open", lambda *_, **__: pytest.fail("laspy was asked for points"))
    refused(path, reason)


@SUFFIXES
@FORMATS
def test_one_point_more_than_the_file_holds_is_one_too_many(tmp_path, las, form, suffix):
    path = written(tmp_path, las(form), suffix)
    patched(path, *((247, "<Q", 301) if VERSIONS[form] == "1.4" else (107, "<I", 301)))
    refused(path, "promises 301 points|do not fit|damaged")


@pytest.mark.parametrize("form", [3, 7])
def test_a_lying_table_of_chunks_is_refused_before_the_decoder_sees_it(tmp_path, las, form, monkeypatch):
    path = written(tmp_path, las(form), "laz")
    monkeypatch.setattr(laspy, "open", lambda *_, **__: pytest.fail("laspy was asked for points"))
    whole = path.read_bytes()
    start = struct.unpack_from("<I", whole, 96)[0]
    (table,) = struct.unpack_from("<q", whole, start)
    record = whole.index(b"laszip encoded") - 2 + 54
    for at, kind, value in (
        (table + 4, "<I", 2**32 - 1),  # chunks
        (start, "<q", 2**62),  # place of the table
        (start, "<q", 0),
        (record + 12, "<I", 0),  # points per chunk
        (record + 32, "<H", 2**16 - 1),  # items
        (record + 36, "<H", 2**16 - 1),  # bytes of the first item
    ):
        path.write_bytes(whole)
        patched(path, at, kind, value)
        refused(path, "do not fit their LASzip record or table of chunks|ends within")


@SUFFIXES
@pytest.mark.parametrize("form", [3, 7])
def test_a_file_cut_anywhere_is_refused(tmp_path, las, form, suffix):
    path = written(tmp_path, las(form), suffix)
    whole = path.read_bytes()
    start = struct.unpack_from("<I", whole, 96)[0]
    for size in (0, 3, 4, 226, 228, start - 1, start, start + 1, start + 8, (start + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, "ends within|promises|behind byte|do not fit|no LA[SZ]")


def test_airborne_scan(data):
    path = data("lidar/autzen_trim.laz")
    cloud = read_scan(path)
    with laspy.open(path) as other:
        header = other.header
        assert len(cloud) == header.point_count
        assert np.allclose(cloud.bounds(), [header.mins, header.maxs], rtol=0, atol=0.5 * max(header.scales))
    assert cloud.crs and "classification" in cloud.scalars
