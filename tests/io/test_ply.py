"""PLY in and out: every type, order, byte order and element that the format allows."""

import io
import logging

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import read_mesh, read_scan, write_mesh, write_scan
from surfrecon.io.ply import triangles

FORMATS = {"ascii": "a", "binary_little_endian": "<", "binary_big_endian": ">"}
OLD_NAMES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
NEW_NAMES = {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}


def ply(form: str, header: str, *rows, end: str = "\n") -> bytes:
    """A PLY file of rows of (type, value or list of values) pairs; a list is preceded by its length as uchar."""
    body = io.BytesIO()
    for row in rows:
        words = []
        for kind, value in row:
            for k, v in [("u1", [len(value)]), (kind, value)] if isinstance(value, list) else [(kind, [value])]:
                words += [repr(x) for x in v]
                if form != "ascii":
                    body.write(np.array(v, FORMATS[form] + k).tobytes())
        if form == "ascii":
            body.write(" ".join(words).encode() + end.encode())
    return f"ply\nformat {form} 1.0\n{header}end_header\n".replace("\n", end).encode() + body.getvalue()


def scan_of(tmp_path, content: bytes) -> PointCloud:
    (tmp_path / "scan.ply").write_bytes(content)
    return read_scan(tmp_path / "scan.ply")


def mesh_of(tmp_path, content: bytes) -> Mesh:
    (tmp_path / "mesh.ply").write_bytes(content)
    return read_mesh(tmp_path / "mesh.ply")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("names", [OLD_NAMES, NEW_NAMES], ids=["old names", "new names"])
def test_every_type_keeps_its_value_and_type(tmp_path, form, names):
    header = "element vertex 2\nproperty double x\nproperty double y\nproperty double z\n"
    header += "".join(f"property {name} f_{name}\n" for name in names)
    extreme = {kind: np.iinfo(kind).max if kind[0] in "iu" else 0.25 for kind in names.values()}
    lowest = {kind: np.iinfo(kind).min if kind[0] in "iu" else -1e30 for kind in names.values()}
    rows = [[*(("f8", c) for c in (1.0, 2.0, 3.0)), *((kind, value) for kind, value in values.items())] for values in (extreme, lowest)]
    cloud = scan_of(tmp_path, ply(form, header, *rows))
    assert cloud.points.tolist() == [[1, 2, 3], [1, 2, 3]]
    for name, kind in names.items():
        column = cloud.scalars[f"f_{name}"]
        assert column.dtype == np.dtype(kind) and column.tolist() == np.array([extreme[kind], lowest[kind]], kind).tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_double_stays_double(tmp_path, form):
    header = "element vertex 1\nproperty double x\nproperty double y\nproperty double z\n"
    value = 5800000.123456789
    assert scan_of(tmp_path, ply(form, header, [("f8", value)] * 3)).points.tolist() == [[value] * 3]


def test_ascii_positions_keep_more_digits_than_declared(tmp_path):
    header = "element vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    assert scan_of(tmp_path, ply("ascii", header, [("f8", 836419.1234)] * 3)).points.tolist() == [[836419.1234] * 3]


@pytest.mark.parametrize("form", FORMATS)
def test_order_of_properties_and_elements_does_not_matter(tmp_path, form):
    header = (
        "element camera 2\nproperty float focal\nproperty list uchar int views\nelement vertex 2\nproperty uchar red\nproperty float z\n"
    )
    header += "property float quality\nproperty uchar green\nproperty float x\nproperty uchar blue\nproperty float y\n"
    header += "element tail 1\nproperty int n\n"
    rows = [[("f4", 1.5), ("i4", [1, 2, 3])], [("f4", 2.5), ("i4", [7])]]
    rows += [[("u1", 255), ("f4", 3.0), ("f4", 0.5), ("u1", 0), ("f4", 1.0), ("u1", 51), ("f4", 2.0)]] * 2 + [[("i4", 9)]]
    cloud = scan_of(tmp_path, ply(form, header, *rows))
    assert cloud.points.tolist() == [[1, 2, 3]] * 2 and cloud.scalars["quality"].tolist() == [0.5, 0.5]
    assert np.allclose(cloud.colors, [1, 0, 0.2])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_line_ends_comments_and_obj_info(tmp_path, form, end):
    header = (
        "comment made by: a test\nobj_info anything goes\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\ncomment\n"
    )
    # The first byte of this number is \n in little endian: after a lone \r it must not be taken for a line end.
    value = float(np.frombuffer(b"\n\0\0\x40", "<f4")[0])
    assert scan_of(tmp_path, ply(form, header, [("f4", value)] * 3, end=end)).points.tolist() == [[value] * 3]


@pytest.mark.parametrize("form", FORMATS)
def test_lists_of_any_length_among_vertices_and_faces(tmp_path, form):
    header = "element vertex 5\nproperty float x\nproperty list uchar short tags\nproperty float y\nproperty float z\n"
    header += (
        "element face 4\nproperty uchar flag\nproperty list uchar int vertex_indices\nproperty list uchar float uv\nproperty short last\n"
    )
    rows = [[("f4", float(i)), ("i2", [*range(i)]), ("f4", float(i * i)), ("f4", 1.0)] for i in range(5)]
    rows += [
        [("u1", 7), ("i4", corners), ("f4", [0.5] * n), ("i2", -3)]
        for n, corners in enumerate([[0, 1, 2], [0, 1, 2, 3], [4, 3, 2, 1, 0], [1, 2]])
    ]
    mesh = mesh_of(tmp_path, ply(form, header, *rows))
    assert mesh.vertices.tolist() == [[i, i * i, 1] for i in range(5)]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [4, 3, 2], [4, 2, 1], [4, 1, 0]]
    assert scan_of(tmp_path, ply(form, header, *rows)).points.tolist() == mesh.vertices.tolist()


def test_a_polygon_is_cut_into_as_many_triangles_as_slow_loop():
    lengths = np.array([3, 0, 5, 1, 4, 2])
    corners = np.arange(lengths.sum()) * 7
    slow, at = [], 0
    for n in lengths:
        slow += [[corners[at], corners[at + i], corners[at + i + 1]] for i in range(1, n - 1)]
        at += n
    assert triangles(lengths, corners).tolist() == [[int(i) for i in row] for row in slow]


@pytest.mark.parametrize("kind, top", [("uchar", 255), ("ushort", 65535), ("float", 1.0), ("double", 1.0), ("int", 255)])
def test_colours_of_any_type_become_srgb_between_0_and_1(tmp_path, kind, top):
    dtype = OLD_NAMES[kind]
    header = "element vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    header += "".join(f"property {kind} {c}\n" for c in ("red", "green", "blue"))
    rows = [[("f4", 0.0)] * 3 + [(dtype, value)] * 3 for value in (top, type(top)(top / 5))]
    cloud = scan_of(tmp_path, ply("binary_little_endian", header, *rows))
    assert cloud.colors.dtype == np.float32 and np.allclose(cloud.colors, [[1] * 3, [0.2] * 3], atol=1e-6)


def test_normals_become_unit_and_zero_stays_zero(tmp_path):
    header = "element vertex 3\n" + "".join(f"property float {c}\n" for c in ("x", "y", "z", "nx", "ny", "nz"))
    rows = [
        [("f4", 0.0)] * 3 + [("f4", value) for value in normal] for normal in ((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0))
    ]
    assert scan_of(tmp_path, ply("binary_little_endian", header, *rows)).normals.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_normals_that_are_all_zero_are_none_and_the_log_says_so(tmp_path, caplog):
    header = "element vertex 2\n" + "".join(f"property float {c}\n" for c in ("x", "y", "z", "nx", "ny", "nz"))
    with caplog.at_level(logging.INFO, "surfrecon"):
        assert scan_of(tmp_path, ply("binary_little_endian", header, *[[("f4", 0.0)] * 6] * 2)).normals is None
    assert "normals" in caplog.text and "zero" in caplog.text


def test_points_that_are_not_finite_are_dropped_with_what_they_carry_and_one_warning(tmp_path, caplog):
    header = "element vertex 5\n" + "".join(f"property float {c}\n" for c in ("x", "y", "z")) + "property int id\n"
    rows = [[("f4", x), ("f4", 0.0), ("f4", 0.0), ("i4", i)] for i, x in enumerate((1.0, float("nan"), 2.0, float("-inf"), 3.0))]
    with caplog.at_level(logging.WARNING, "surfrecon"):
        cloud = scan_of(tmp_path, ply("ascii", header, *rows).replace(b"-inf", b"-inf"))
    assert cloud.points[:, 0].tolist() == [1, 2, 3] and cloud.scalars["id"].tolist() == [0, 2, 4]
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "2 of 5" in caplog.text


def test_half_of_the_points_not_finite_is_an_error(tmp_path):
    header = "element vertex 2\n" + "".join(f"property float {c}\n" for c in ("x", "y", "z"))
    with pytest.raises(InputError, match="1 of its 2 points"):
        scan_of(tmp_path, ply("binary_little_endian", header, [("f4", 0.0)] * 3, [("f4", float("nan"))] * 3))


def test_scan_round_trip_keeps_everything(tmp_path, cloud):
    assert write_scan(cloud, tmp_path / "scan.ply") == []
    back = read_scan(tmp_path / "scan.ply")
    assert np.array_equal(back.points, cloud.points) and np.array_equal(back.origins, cloud.origins)
    assert np.array_equal(back.colors, cloud.colors) and np.abs(back.normals - cloud.normals).max() < 1e-7
    assert back.scalars["intensity"].dtype == np.uint16 and back.scalars["time"].dtype == np.float64
    assert all(np.array_equal(back.scalars[name], cloud.scalars[name]) for name in cloud.scalars)
    assert back.crs == cloud.crs


def test_a_file_written_twice_is_a_fixed_point(tmp_path, cloud):
    write_scan(cloud, tmp_path / "one.ply")
    write_scan(read_scan(tmp_path / "one.ply"), tmp_path / "two.ply")
    assert (tmp_path / "one.ply").read_bytes() == (tmp_path / "two.ply").read_bytes()


def test_float_where_it_suffices_double_where_it_must(tmp_path, sphere, cloud):
    write_mesh(sphere, tmp_path / "near.ply")
    write_scan(cloud, tmp_path / "far.ply")
    assert b"property float x\n" in (tmp_path / "near.ply").read_bytes() and b"property double x\n" in (tmp_path / "far.ply").read_bytes()


def test_names_and_types_that_ply_lacks_are_stored_as_the_nearest(tmp_path):
    fields = {
        "scan angle (deg)": np.array([1.5, 2], np.float16),
        "nx": np.array([True, False]),
        "größe": np.array([-1, 2**40]),
        "id": np.array([3, 2**60 + 1], np.uint64),
        "small": np.array([-5, 5]),
    }
    notes = write_scan(PointCloud(np.eye(3)[:2], scalars=fields), tmp_path / "scan.ply")
    assert len(notes) == 1 and "'id'" in notes[0]
    back = read_scan(tmp_path / "scan.ply").scalars
    assert {name: column.dtype.str[1:] for name, column in back.items()} == {
        "scan_angle_deg": "f4",
        "scalar_nx": "u1",
        "gr_e": "f8",
        "id": "f8",
        "small": "i4",
    }
    assert back["gr_e"].tolist() == [-1, 2**40] and back["small"].tolist() == [-5, 5]


def test_trimesh_reads_what_we_write(tmp_path, sphere):
    write_mesh(sphere, tmp_path / "mesh.ply")
    other = trimesh.load(tmp_path / "mesh.ply", process=False)
    assert np.abs(other.vertices - sphere.vertices).max() < 1e-7 and np.array_equal(other.faces, sphere.faces)
    assert np.array_equal(other.visual.vertex_colors[:, :3], np.round(sphere.colors * 255))
    assert other.is_watertight and np.isclose(other.volume, sphere.volume())


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_we_read_what_trimesh_writes(tmp_path, sphere, encoding):
    other = trimesh.Trimesh(sphere.vertices, sphere.faces, process=False, vertex_colors=np.round(sphere.colors * 255).astype(np.uint8))
    (tmp_path / "mesh.ply").write_bytes(trimesh.exchange.ply.export_ply(other, encoding=encoding))
    mesh = read_mesh(tmp_path / "mesh.ply")
    assert np.abs(mesh.vertices - sphere.vertices).max() < 1e-6 and np.array_equal(mesh.faces, sphere.faces)
    assert np.array_equal(np.round(mesh.colors * 255), np.round(sphere.colors * 255))


def test_open3d_reads_what_we_write(tmp_path, cloud):
    try:
        import open3d
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d cannot be imported: {error}")
    write_scan(cloud, tmp_path / "scan.ply")
    other = open3d.io.read_point_cloud(str(tmp_path / "scan.ply"))
    assert np.array_equal(np.asarray(other.points), cloud.points)
    assert np.abs(np.asarray(other.normals) - cloud.normals).max() < 1e-7
    assert np.abs(np.asarray(other.colors) - cloud.colors).max() < 1e-6


numbers = st.floats(-1e6, 1e6, width=32)
columns = st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])


@st.composite
def clouds(draw) -> PointCloud:
    rows = draw(st.integers(1, 6))
    kinds = draw(st.dictionaries(st.from_regex(r"[a-wA-W][a-z0-9_]{2,6}[0-9]", fullmatch=True), columns, max_size=3))
    colors = draw(st.none() | arrays(np.uint8, (rows, 3)))
    return PointCloud(
        draw(arrays(np.float64, (rows, 3), elements=numbers)),
        colors=None if colors is None else colors / np.float32(255),
        scalars={name: draw(arrays(np.dtype(kind), rows)) for name, kind in kinds.items()},
        crs=draw(st.none() | st.text(max_size=20)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cloud=clouds())
def test_any_scan_survives_a_round_trip(tmp_path, cloud):
    write_scan(cloud, tmp_path / "scan.ply")
    back = read_scan(tmp_path / "scan.ply")
    assert np.array_equal(back.points, cloud.points) and back.crs == cloud.crs
    assert (back.colors is None) == (cloud.colors is None) and (cloud.colors is None or np.array_equal(back.colors, cloud.colors))
    written = {name.lower(): name for name in back.scalars}
    for name, column in cloud.scalars.items():
        same = back.scalars.get(name, back.scalars.get(written.get(f"scalar_{name.lower()}")))
        assert same.dtype == column.dtype and np.array_equal(same, column, equal_nan=column.dtype.kind == "f")
