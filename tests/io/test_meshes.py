"""Meshes out, opened again by another library and by our own readers; meshes in, as others write them."""

import json
import struct

import numpy as np
import pytest
import trimesh

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity
from surfrecon.io import read_mesh, read_scan, write_mesh

UTM = Similarity(50.0, [8e5, 5.8e6, 100.0])  # the sphere, 100 m wide, where float32 steps are half a metre
MILLIMETRE = 1e-3
YUP_FROM_ZUP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
SUFFIXES = pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "glb", "off", "3mf"])
KEPT = {  # what each format has a place for
    "ply": {"normals", "colors", "scalars", "crs"},
    "glb": {"normals", "colors", "scalars", "crs"},
    "obj": {"normals", "colors", "crs"},
    "stl": set(),
    "off": {"crs"},
    "3mf": {"crs"},
}


def mesh_of(tmp_path, content: str | bytes, suffix: str) -> Mesh:
    path = tmp_path / f"mesh.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mesh(path)


def other_mesh(path) -> trimesh.Trimesh:
    """What trimesh makes of a file, z up; STL's corners merged where equal."""
    if path.suffix == ".3mf":
        pytest.importorskip("lxml", reason="trimesh reads 3MF by lxml and networkx")
        pytest.importorskip("networkx", reason="trimesh reads 3MF by lxml and networkx")
    scene = trimesh.load_scene(path, process=False)
    if path.suffix == ".glb":
        scene.apply_transform(np.linalg.inv(YUP_FROM_ZUP))
    mesh = scene.to_mesh()
    if path.suffix == ".stl":
        mesh.merge_vertices(digits_vertex=12)
        sidecar = path.with_name(f"{path.name}.origin.json")
        mesh.apply_translation(json.loads(sidecar.read_text())["origin"] if sidecar.exists() else (0, 0, 0))
    return mesh


def distance(mesh: Mesh, other: trimesh.Trimesh | Mesh) -> float:
    """Largest distance of corners, face by face: the same faces in the same order are expected."""
    return float(np.linalg.norm(mesh.triangles() - other.vertices[other.faces], axis=2).max())


def crowded(sphere: Mesh) -> Mesh:
    """The sphere with a second vertex 1e-9 beside each hundredth one, and a sliver between the two."""
    near = np.arange(0, len(sphere.vertices), 100)
    extra = sphere.vertices[near] + [1e-9, 0, 0]
    third = np.array([sphere.faces[(sphere.faces == i).any(axis=1)][0] for i in near])
    third = third[third != near[:, None]].reshape(-1, 2)[:, 0]
    slivers = np.column_stack([near, len(sphere.vertices) + np.arange(len(near)), third])
    return Mesh(np.vstack([sphere.vertices, extra]), np.vstack([sphere.faces, slivers]))


@SUFFIXES
def test_another_library_sees_the_same_closed_surface(tmp_path, sphere, suffix):
    write_mesh(sphere, tmp_path / f"mesh.{suffix}")
    other = other_mesh(tmp_path / f"mesh.{suffix}")
    assert other.is_watertight and other.is_winding_consistent and len(other.vertices) == len(sphere.vertices)
    assert distance(sphere, other) < 1e-6 and other.volume == pytest.approx(sphere.volume(), rel=1e-6)


@SUFFIXES
def test_another_library_finds_it_at_utm_coordinates_to_a_millimetre(tmp_path, sphere, suffix):
    far = sphere.transformed(UTM)
    write_mesh(far, tmp_path / f"mesh.{suffix}")
    other = other_mesh(tmp_path / f"mesh.{suffix}")
    assert other.is_watertight and len(other.vertices) == len(far.vertices) and distance(far, other) < MILLIMETRE
    assert other.apply_translation(-UTM.translation).volume == pytest.approx(far.volume(), rel=1e-6)


@SUFFIXES
def test_a_mesh_inside_out_stays_so(tmp_path, sphere, suffix):
    write_mesh(Mesh(sphere.vertices, sphere.faces[:, ::-1]), tmp_path / f"mesh.{suffix}")
    assert read_mesh(tmp_path / f"mesh.{suffix}").volume() == pytest.approx(-sphere.volume(), rel=1e-6)
    assert other_mesh(tmp_path / f"mesh.{suffix}").volume == pytest.approx(-sphere.volume(), rel=1e-6)


@SUFFIXES
@pytest.mark.parametrize("world", [Similarity(), UTM], ids=["near", "UTM"])
def test_round_trip_keeps_what_the_format_has_a_place_for_and_says_what_it_lacks(tmp_path, sphere, suffix, world):
    mesh = sphere.transformed(world)
    notes = write_mesh(mesh, tmp_path / f"mesh.{suffix}")
    back = read_mesh(tmp_path / f"mesh.{suffix}")
    assert len(back.vertices) == len(mesh.vertices) and len(back.faces) == len(mesh.faces)
    assert distance(mesh, back) < MILLIMETRE and back.volume() == pytest.approx(mesh.volume(), rel=1e-6)
    if suffix != "stl":
        assert np.array_equal(back.faces, mesh.faces)
    kept = KEPT[suffix]
    assert ("normals" in kept) == (back.normals is not None) and (back.normals is None or np.abs(back.normals - mesh.normals).max() < 1e-6)
    assert ("colors" in kept) == (back.colors is not None)
    assert back.colors is None or np.array_equal(np.round(back.colors * 255), np.round(mesh.colors * 255))
    assert ("scalars" in kept) == bool(back.scalars) and all(np.array_equal(back.scalars[n], mesh.scalars[n]) for n in back.scalars)
    assert back.crs == (mesh.crs if "crs" in kept else None)
    words = {"normals": "normals", "colors": "colours", "scalars": "confidence, label", "crs": "coordinate reference system"}
    assert all((words[part] in " ".join(notes)) == (part not in kept) for part in words)


@SUFFIXES
def test_distinct_vertices_stay_distinct_where_float32_would_make_them_one(tmp_path, sphere, suffix):
    mesh = crowded(sphere)
    assert len(np.unique(mesh.vertices.astype(np.float32), axis=0)) < len(mesh.vertices)
    write_mesh(mesh, tmp_path / f"mesh.{suffix}")
    assert len(read_mesh(tmp_path / f"mesh.{suffix}").vertices) == len(mesh.vertices)
    assert len(np.unique(other_mesh(tmp_path / f"mesh.{suffix}").vertices, axis=0)) == len(mesh.vertices)


@SUFFIXES
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e4, 1e12])
@pytest.mark.parametrize("ratio", [0, 1, 1e3, 1e7])
def test_any_size_and_place_is_held_to_a_millionth_of_the_size(tmp_path, sphere, suffix, size, ratio):
    mesh = sphere.transformed(Similarity(size, size * ratio * np.array([-0.9, 0.123456789, 1])))
    write_mesh(mesh, tmp_path / f"mesh.{suffix}")
    back = read_mesh(tmp_path / f"mesh.{suffix}")
    assert len(back.vertices) == len(mesh.vertices) and distance(mesh, back) < 1e-6 * 2 * size


@SUFFIXES
def test_one_triangle(tmp_path, suffix):
    mesh = Mesh([[1, 2, 3], [4, 2, 3], [1, 7, 3]], [[0, 1, 2]], unit=None if suffix == "stl" else "m")
    assert write_mesh(mesh, tmp_path / f"mesh.{suffix}") == []
    assert read_mesh(tmp_path / f"mesh.{suffix}").triangles().tolist() == mesh.triangles().tolist()


@SUFFIXES
def test_the_vertices_of_a_mesh_are_a_scan(tmp_path, sphere, suffix):
    write_mesh(sphere.transformed(UTM), tmp_path / f"mesh.{suffix}")
    scan = read_scan(tmp_path / f"mesh.{suffix}")
    assert len(scan) == len(sphere.vertices) and scan.crs == (sphere.crs if "crs" in KEPT[suffix] else None)
    assert np.linalg.norm(scan.points - UTM.translation, axis=1) == pytest.approx(50, abs=MILLIMETRE)


@SUFFIXES
def test_the_same_mesh_gives_the_same_bytes(tmp_path, sphere, suffix):
    for name in ("one", "two"):
        write_mesh(sphere.transformed(UTM), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@SUFFIXES
def test_a_mesh_without_faces_is_not_written(tmp_path, suffix):
    with pytest.raises(InputError, match="no faces"):
        write_mesh(Mesh(np.eye(3), np.empty((0, 3), int)), tmp_path / f"mesh.{suffix}")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", ["dae", "xyz", ""])
def test_a_format_we_do_not_write_is_named(tmp_path, sphere, suffix):
    with pytest.raises(InputError, match=r"known are \.3mf, \.glb, \.obj, \.off, \.ply, \.stl"):
        write_mesh(sphere, (tmp_path / "mesh").with_suffix(f".{suffix}" if suffix else ""))


@pytest.mark.parametrize("suffix", ["stl", "glb", "3mf"])
def test_a_mesh_too_large_for_float32_is_refused_and_leaves_no_file(tmp_path, sphere, suffix):
    with pytest.raises(InputError, match=rf"mesh\.{suffix}: .*write PLY instead"):
        write_mesh(sphere.transformed(Similarity(1e39)), tmp_path / f"mesh.{suffix}")
    assert not [*tmp_path.iterdir()]


# GLB, read by hand


def glb_parts(path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """The document, the arrays of its only primitive by name, and the node's matrix."""
    data = path.read_bytes()
    magic, version, total, size, kind = struct.unpack_from("<4sIII4s", data)
    document = json.loads(data[20 : 20 + size])
    binary_size, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
    binary = data[28 + size :]
    assert (magic, version, total, kind, binary_kind) == (b"glTF", 2, len(data), b"JSON", b"BIN\0")
    assert len(binary) == binary_size == document["buffers"][0]["byteLength"] and size % 4 == 0 and binary_size % 4 == 0
    primitive, arrays = document["meshes"][0]["primitives"][0], {}
    for name, index in [*primitive["attributes"].items(), ("indices", primitive["indices"])]:
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        dtype = np.dtype({5126: "<f4", 5123: "<u2", 5125: "<u4"}[accessor["componentType"]])
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert view["byteOffset"] % 4 == 0 and view["byteLength"] == accessor["count"] * width * dtype.itemsize
        arrays[name] = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
    low, high = (document["accessors"][primitive["attributes"]["POSITION"]][end] for end in ("min", "max"))
    assert np.array_equal(arrays["POSITION"].min(0), low) and np.array_equal(arrays["POSITION"].max(0), high)
    return document, arrays, np.array(document["nodes"][0]["matrix"], float).reshape(4, 4, order="F")


@pytest.mark.parametrize("world", [Similarity(), UTM], ids=["near", "UTM"])
def test_glb_holds_local_vertices_and_a_float64_matrix(tmp_path, sphere, world):
    mesh = sphere.transformed(world)
    write_mesh(mesh, tmp_path / "mesh.glb")
    _, arrays, matrix = glb_parts(tmp_path / "mesh.glb")
    assert np.abs(arrays["POSITION"]).max() <= 2 * np.ptp(mesh.vertices)  # small numbers, whatever the place
    yup = arrays["POSITION"].astype(float) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(yup - mesh.vertices @ YUP_FROM_ZUP[:3, :3].T).max() < MILLIMETRE * world.scale / UTM.scale
    assert np.array_equal(arrays["indices"].reshape(-1, 3), mesh.faces) and np.linalg.det(matrix) == 1


def test_glb_holds_normals_linear_colours_and_fields(tmp_path, sphere):
    write_mesh(sphere, tmp_path / "mesh.glb")
    document, arrays, _ = glb_parts(tmp_path / "mesh.glb")
    assert np.abs(np.linalg.norm(arrays["NORMAL"], axis=1) - 1).max() < 1e-6
    srgb = sphere.colors.astype(float)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    assert np.abs(arrays["COLOR_0"][:, :3] / 65535 - linear).max() < 1e-5 and (arrays["COLOR_0"][:, 3] == 65535).all()
    assert np.array_equal(arrays["_CONFIDENCE"][:, 0], sphere.scalars["confidence"])
    assert np.array_equal(arrays["_LABEL"][:, 0], sphere.scalars["label"])
    assert document["asset"]["extras"]["crs"] == sphere.crs


def test_glb_says_which_fields_float32_cannot_hold(tmp_path, sphere):
    fields = {"id": np.arange(len(sphere.vertices)) + 2**24, "time": np.zeros(len(sphere.vertices))}
    notes = write_mesh(Mesh(sphere.vertices, sphere.faces, scalars=fields), tmp_path / "mesh.glb")
    assert len(notes) == 1 and "id keep 7 digits" in notes[0]


def test_glb_turns_unknown_normals_into_unit_ones(tmp_path, sphere):
    normals = sphere.normals.copy()
    normals[::2] = 0
    write_mesh(Mesh(sphere.vertices, sphere.faces, normals=normals), tmp_path / "mesh.glb")
    assert np.abs(np.linalg.norm(glb_parts(tmp_path / "mesh.glb")[1]["NORMAL"], axis=1) - 1).max() < 1e-6


# STL, read by hand


def test_stl_holds_unit_normals_by_the_right_hand_rule_and_no_origin_where_none_is_needed(tmp_path, sphere):
    (tmp_path / "mesh.stl.origin.json").write_text("of an earlier mesh of this name")
    write_mesh(sphere, tmp_path / "mesh.stl")
    data = (tmp_path / "mesh.stl").read_bytes()
    assert not data.startswith(b"solid") and len(data) == 84 + 50 * len(sphere.faces) == 84 + 50 * int.from_bytes(data[80:84], "little")
    facets = np.frombuffer(data[84:], np.uint8).reshape(-1, 50)[:, :48].copy().view("<f4").reshape(-1, 4, 3)
    normals = np.cross(facets[:, 2] - facets[:, 1], facets[:, 3] - facets[:, 1])
    assert np.abs(normals / np.linalg.norm(normals, axis=1, keepdims=True) - facets[:, 0]).max() < 1e-3
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.stl"]


def test_stl_states_its_origin_in_header_sidecar_and_note(tmp_path, sphere):
    far = sphere.transformed(UTM)
    notes = write_mesh(far, tmp_path / "mesh.stl")
    about = json.loads((tmp_path / "mesh.stl.origin.json").read_text())
    header = (tmp_path / "mesh.stl").read_bytes()[:80].rstrip(b"\0").decode().split()
    assert header[:2] == ["surfrecon", "origin"] and [float(x) for x in header[2:]] == about["origin"] and about["crs"] == far.crs
    local = trimesh.load_mesh(tmp_path / "mesh.stl")
    assert np.abs(local.vertices).max() < 150 and any(str(about["origin"]) in note for note in notes)


@pytest.mark.parametrize("place", [-1.23456789012345e15, 1.23456789012345e-7])
def test_stl_never_writes_a_header_of_more_than_80_bytes(tmp_path, sphere, place):
    mesh = sphere.transformed(Similarity(abs(place) * 1e-13, [place] * 3))
    try:
        write_mesh(mesh, tmp_path / "mesh.stl")
    except InputError as error:
        assert "PLY" in str(error) and not [*tmp_path.iterdir()]
    else:
        assert (tmp_path / "mesh.stl").stat().st_size == 84 + 50 * len(mesh.faces)


# What others write


@pytest.mark.parametrize("kind", ["obj", "stl", "stl_ascii", "glb", "off", "ply"])
def test_we_read_what_trimesh_writes(tmp_path, sphere, kind):
    other = trimesh.Trimesh(sphere.vertices, sphere.faces, process=False)
    if kind == "glb":
        other.apply_transform(YUP_FROM_ZUP)  # trimesh writes axes as they are, glTF's are y-up
    mesh = mesh_of(tmp_path, other.export(file_type=kind), kind.split("_")[0])
    assert len(mesh.vertices) == len(sphere.vertices) and distance(sphere, mesh) < 1e-6
    assert mesh.volume() == pytest.approx(sphere.volume(), rel=1e-6)


CUBE = [[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]
SIDES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]  # counter-clockwise from outside
V = "".join(f"v {x} {y} {z}\n" for x, y, z in CUBE)


def sides(form: str, shift: int = 1) -> str:
    return "".join("f " + " ".join(form.format(i + shift) for i in side) + "\n" for side in SIDES)


OBJS = {
    "quads": V + sides("{0}"),
    "texture": V + "vt 0 0\n" * 8 + sides("{0}/{0}"),
    "normals of other corners": V + "vn 0 0 1\n" * 3 + sides("{0}//1"),
    "texture and normals": V + "vt 0 0\nvn 0 0 1\n" + sides("{0}/1/1"),
    "counted backwards": V + sides("{0}", shift=-8),
    "CRLF": (V + sides("{0}")).replace("\n", "\r\n"),
    "CR": (V + sides("{0}")).replace("\n", "\r"),
    "continued lines": V + sides("{0}").replace(" ", " \\\n "),
    "groups and comments": "# a cube\nmtllib none.mtl\no cube\n" + V + "g all\nusemtl red\ns 1\n" + sides("{0}").replace("\n", " # side\n"),
    "weights": V.replace("\n", " 1.0\n") + sides("{0}"),
    "tabs": (V + sides("{0}")).replace(" ", "\t"),
    "no line end": (V + sides("{0}")).rstrip(),
    "faces of both kinds": V + "vt 0 0\n" + sides("{0}/1").replace("/1", "", 5),
}
ROWS = [" ".join(map(str, row)) for row in CUBE]
QUADS = [" ".join(map(str, [4, *side])) for side in SIDES]
OFFS = {
    "quads": ["OFF", "8 6 12", *ROWS, *QUADS],
    "no edges": ["OFF", "8 6", *ROWS, *QUADS],
    "counts beside the word": ["OFF8 6 0", *ROWS, *QUADS],
    "comments and blanks": ["# a cube", "", "OFF # here", "8 6 0", "", *ROWS, "# sides", *QUADS, ""],
    "colours of vertices": ["COFF", "8 6 0", *(f"{row} 255 0 0 255" for row in ROWS), *QUADS],
    "colours of some faces": ["OFF", "8 6 0", *ROWS, *QUADS[:3], *(f"{side} 0.5 0.5 1" for side in QUADS[3:])],
    "CRLF": ["OFF\r", "8 6 0\r", *(f"{row}\r" for row in [*ROWS, *QUADS])],
}


@pytest.mark.parametrize("text", OBJS.values(), ids=OBJS.keys())
def test_an_obj_cube_is_closed_whatever_the_way_it_is_written(tmp_path, text):
    mesh = mesh_of(tmp_path, text, "obj")
    assert mesh.vertices.tolist() == CUBE and len(mesh.faces) == 12 and mesh.volume() == pytest.approx(1)


@pytest.mark.parametrize("lines", OFFS.values(), ids=OFFS.keys())
def test_an_off_cube_is_closed_whatever_the_way_it_is_written(tmp_path, lines):
    mesh = mesh_of(tmp_path, "\n".join(lines) + "\n", "off")
    assert mesh.vertices.tolist() == CUBE and len(mesh.faces) == 12 and mesh.volume() == pytest.approx(1)


def test_obj_colours_between_0_and_1_or_255(tmp_path):
    for top in ("1", "255"):
        mesh = mesh_of(tmp_path, f"v 0 0 0 {top} 0 0\nv 1 0 0 0 {top} 0\nv 0 1 0 0 0 {top}\nf 1 2 3\n", "obj")
        assert mesh.colors.tolist() == np.eye(3).tolist()


def text_stl(name: str) -> str:
    cube = Mesh(CUBE, [corner for a, b, c, d in SIDES for corner in ((a, b, c), (a, c, d))])
    corners = ["".join(f"      vertex {x:g} {y:g} {z:g}\n" for x, y, z in triangle) for triangle in cube.triangles()]
    facets = "".join(f"  facet normal 0 0 0\n    outer loop\n{three}    endloop\n  endfacet\n" for three in corners)
    return f"solid {name}\n{facets}endsolid {name}\n"


STLS = {
    "ASCII": text_stl("cube"),
    "no name": text_stl(""),
    "a name of our words": text_stl("vertex endfacet 1"),
    "capitals": text_stl("cube").upper(),
    "CRLF": text_stl("cube").replace("\n", "\r\n"),
    "two solids": text_stl("one") + text_stl("two").replace("vertex 1", "vertex 2").replace("vertex 0", "vertex 1"),
}


@pytest.mark.parametrize("text", STLS.values(), ids=STLS.keys())
def test_a_text_stl_is_read_whole(tmp_path, text):
    solids = text.lower().count("endsolid")
    mesh = mesh_of(tmp_path, text, "stl")
    assert len(mesh.vertices) == 4 + 4 * solids and len(mesh.faces) == 12 * solids and mesh.volume() == pytest.approx(solids)


@pytest.mark.parametrize("extra", [b"", b"colours of some program"])
def test_a_binary_stl_may_begin_with_the_word_of_text_ones(tmp_path, sphere, extra):
    write_mesh(sphere, tmp_path / "mesh.stl")
    data = b"solid but binary".ljust(80) + (tmp_path / "mesh.stl").read_bytes()[80:]
    assert len(mesh_of(tmp_path, data + extra, "stl").faces) == len(sphere.faces)


def glb(document: dict, binary: bytes = b"") -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}} | document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def tetrahedron(**changes) -> tuple[dict, bytes]:
    """Volume 1/6, positions 20 bytes apart, faces as bytes; `changes` replace parts of the document."""
    corners = np.zeros((4, 5), "<f4")
    corners[1:, :3] = np.eye(3)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], "u1")
    document = {
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5121, "count": 12, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 80, "byteStride": 20}, {"buffer": 0, "byteOffset": 80, "byteLength": 12}],
        "buffers": [{"byteLength": 92}],
    }
    return document | changes, corners.tobytes() + faces.tobytes()


HALF = np.sqrt(0.5)
NODES = {  # nodes and the signed volume that they make of 1/6
    "as it is": ([{"mesh": 0}], 1),
    "scaled": ([{"mesh": 0, "scale": [2, 3, 4]}], 24),
    "mirrored": ([{"mesh": 0, "scale": [-2, 1, 1]}], 2),  # a mirrored solid is a solid: its faces are turned
    "turned and moved": ([{"mesh": 0, "rotation": [HALF, 0, 0, HALF], "translation": [8e5, 100, -5.8e6]}], 1),
    "by a matrix": ([{"mesh": 0, "matrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 5, 5, 5, 1]}], 8),
    "child of a child": ([{"children": [1], "scale": [2, 2, 2]}, {"children": [2], "scale": [1, 1, 3]}, {"mesh": 0}], 24),
    "twice": ([{"mesh": 0}, {"mesh": 0, "translation": [9, 9, 9]}], 2),
}


@pytest.mark.parametrize("nodes, times", NODES.values(), ids=NODES.keys())
def test_glb_nodes_place_their_meshes(tmp_path, nodes, times):
    roots = [i for i in range(len(nodes)) if not any(i in node.get("children", []) for node in nodes)]
    document, binary = tetrahedron(nodes=nodes, scenes=[{"nodes": roots}], scene=0)
    mesh = mesh_of(tmp_path, glb(document, binary), "glb")
    other = other_mesh(tmp_path / "mesh.glb")
    assert mesh.volume() == pytest.approx(times / 6) and len(mesh.vertices) == len(other.vertices)
    assert np.abs(mesh.bounds() - other.bounds).max() < 1e-6


def test_a_glb_primitive_without_indices(tmp_path):
    document, binary = tetrahedron(meshes=[{"primitives": [{"attributes": {"POSITION": 0}}]}])
    document["accessors"][0]["count"] = 3
    assert mesh_of(tmp_path, glb(document, binary), "glb").faces.tolist() == [[0, 1, 2]]


FINE, BINARY = tetrahedron()
ACCESSOR = FINE["accessors"][0]
BAD = {
    "obj empty": ("obj", "", "no vertices"),
    "obj binary": ("obj", b"v 1 2 3\0\n", "no text file"),
    "obj no faces": ("obj", V, "no faces"),
    "obj a face too high": ("obj", V + "f 1 2 9\n", "names vertex 8, but there are 8"),
    "obj a face too low": ("obj", V + "f 1 2 -9\n", "names vertex -1"),
    "obj vertex 0": ("obj", V + "f 0 1 2\n", "name a vertex 0"),
    "obj a word": ("obj", V + "f 1 2 three\n", "'three'"),
    "obj a short vertex": ("obj", V + "v 1 2\nf 1 2 3\n", "do not all hold"),
    "obj a vertex at infinity": ("obj", V + "v inf 0 0\nf 1 2 9\n", "finite"),
    "off empty": ("off", "", "does not begin with 'OFF'"),
    "off counts missing": ("off", "OFF\n", "where the numbers of vertices"),
    "off absurd counts": ("off", "OFF\n1000000000000000 6 0\n0 0 0\n", "promises 1000000000000000 vertices"),
    "off cut short": ("off", "\n".join(OFFS["quads"][:-1]), "6 faces, but 13 lines follow"),
    "off a line too many": ("off", "\n".join([*OFFS["quads"], "4 0 1 2 3"]), "but 15 lines follow"),
    "off a face that lacks a corner": ("off", "\n".join([*OFFS["quads"][:-1], "4 1 3 7"]), "lacks corners"),
    "off a face too high": ("off", "\n".join([*OFFS["quads"][:-1], "3 1 3 8"]), "names vertex 8"),
    "off a face too low": ("off", "\n".join([*OFFS["quads"][:-1], "3 1 3 -1"]), "names vertex -1"),
    "off binary": ("off", b"OFF BINARY\n" + bytes(100), "binary"),
    "stl empty": ("stl", "", "promises 0 triangles"),
    "stl cut short": ("stl", bytes(80) + b"\x02\0\0\0" + bytes(50), "promises 2 triangles"),
    "stl absurd count": ("stl", bytes(80) + b"\xff\xff\xff\xff" + bytes(50), "promises 4294967295 triangles"),
    "stl no triangles": ("stl", bytes(84), "no faces"),
    "stl not a number": ("stl", bytes(84)[:80] + b"\1\0\0\0" + b"\0\0\xc0\x7f" * 12 + b"\0\0", "finite"),
    "stl text cut short": ("stl", text_stl("cube")[:-300], "cut short"),
    "stl text cut at a line": ("stl", text_stl("cube").split("endsolid")[0], "cut short"),
    "stl text without a corner": ("stl", text_stl("cube").replace("      vertex 1 1 1\n", "", 1), "35 corners"),
    "stl text a word": ("stl", text_stl("cube").replace("vertex 1", "vertex one", 1), "'one'"),
    "glb empty": ("glb", b"", "glTF"),
    "glb of JSON": ("glb", b"{}", "glTF"),
    "glb cut short": ("glb", glb(FINE, BINARY)[:-1], "cut short"),
    "glb header alone": ("glb", glb(FINE, BINARY)[:12], "cut short"),
    "glb version 1": ("glb", glb(FINE, BINARY).replace(b"glTF\2", b"glTF\1", 1), "version 1"),
    "glb no document": ("glb", struct.pack("<4sIII4s", b"glTF", 2, 24, 4, b"JSON") + b"[]  ", "no glTF document"),
    "glb no meshes": ("glb", glb({"nodes": []}), "no triangles"),
    "glb lines": ("glb", glb(FINE | {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 1}]}]}, BINARY), "no triangles"),
    "glb a loop of nodes": ("glb", glb(FINE | {"nodes": [{"children": [1]}, {"children": [0]}]}, BINARY), "two parents"),
    "glb compressed": ("glb", glb(FINE | {"accessors": [{**ACCESSOR, "bufferView": None} | {"sparse": {}}]}, BINARY), "compressed"),
    "glb another file": ("glb", glb(FINE | {"buffers": [{"uri": "/etc/hostname", "byteLength": 92}]}, BINARY), "another file"),
    "glb absurd count": ("glb", glb(FINE | {"accessors": [{**ACCESSOR, "count": 10**15}]}, BINARY), "promises 10+ values"),
    "glb negative offset": ("glb", glb(FINE | {"accessors": [{**ACCESSOR, "byteOffset": -4}]}, BINARY), "damaged"),
    "glb faces of two corners": ("glb", glb(FINE | {"accessors": [ACCESSOR, FINE["accessors"][1] | {"count": 11}]}, BINARY), "damaged"),
}


@pytest.mark.parametrize("suffix, content, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_mesh_is_refused_in_one_sentence_that_names_the_file(tmp_path, suffix, content, reason):
    with pytest.raises(InputError, match=reason) as caught:
        mesh_of(tmp_path, content, suffix)
    assert str(caught.value).startswith(f"{tmp_path / 'mesh'}.{suffix}: ") and "\n" not in str(caught.value)
