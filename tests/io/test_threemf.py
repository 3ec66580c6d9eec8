"""3MF: its unit, components and transforms, and archives that lie."""

import zipfile

import numpy as np
import pytest
import trimesh

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.io import read_mesh, write_mesh
from surfrecon.io.threemf import CORE, MODEL

CORNERS = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
SIDES = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
SOLID = f'<object id="1"><mesh><vertices>{CORNERS}</vertices><triangles>{SIDES}</triangles></mesh></object>'
ITEM = '<item objectid="1"/>'


def model(resources: str = SOLID, build: str = ITEM, head: str = "") -> str:
    return f'{head}<model unit="meter" xmlns="{CORE}"><resources>{resources}</resources><build>{build}</build></model>'


def mesh_of(tmp_path, text: str | bytes, name: str = MODEL) -> Mesh:
    with zipfile.ZipFile(tmp_path / "mesh.3mf", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return read_mesh(tmp_path / "mesh.3mf")


@pytest.mark.parametrize(
    "unit, words, notes",
    [("mm", "millimeter", 0), ("cm", "centimeter", 0), ("m", "meter", 0), ("ft", "foot", 0), ("us-ft", "foot", 1), (None, "millimeter", 1)],
)
def test_the_unit_is_stated_and_where_none_is_known_that_is_said(tmp_path, sphere, unit, words, notes):
    said = write_mesh(Mesh(sphere.vertices, sphere.faces, unit=unit), tmp_path / "mesh.3mf")
    assert f'unit="{words}"' in zipfile.ZipFile(tmp_path / "mesh.3mf").read(MODEL).decode() and len(said) == notes
    assert read_mesh(tmp_path / "mesh.3mf").unit == {"us-ft": "ft", None: "mm"}.get(unit, unit)


def test_we_read_what_trimesh_writes(tmp_path, sphere):
    pytest.importorskip("lxml", reason="trimesh writes 3MF by lxml")
    (tmp_path / "mesh.3mf").write_bytes(trimesh.Trimesh(sphere.vertices, sphere.faces, process=False).export(file_type="3mf"))
    mesh = read_mesh(tmp_path / "mesh.3mf")
    assert np.array_equal(mesh.faces, sphere.faces) and np.abs(mesh.vertices - sphere.vertices).max() < 1e-6


PLACES = {  # resources, build, and the signed volume that they make of 1/6
    "as it is": (SOLID, ITEM, 1),
    "twice": (SOLID, ITEM + '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 9 9 9"/>', 2),
    "scaled": (SOLID, '<item objectid="1" transform="2 0 0 0 3 0 0 0 4 0 0 0"/>', 24),
    "mirrored": (SOLID, '<item objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/>', 1),
    "by components": (
        SOLID
        + '<object id="2"><components><component objectid="1" transform="2 0 0 0 2 0 0 0 2 0 0 0"/>'
        + '<component objectid="1"/></components></object>',
        '<item objectid="2" transform="2 0 0 0 2 0 0 0 2 0 0 0"/>',
        72,
    ),
}


@pytest.mark.parametrize("resources, build, times", PLACES.values(), ids=PLACES.keys())
def test_items_and_components_place_their_objects(tmp_path, resources, build, times):
    assert mesh_of(tmp_path, model(resources, build)).volume() == pytest.approx(times / 6)


def test_points_are_rows_of_a_transform(tmp_path):
    mesh = mesh_of(tmp_path, model(build='<item objectid="1" transform="0 1 0 -1 0 0 0 0 1 10 20 30"/>'))
    assert mesh.vertices.tolist() == [[10, 20, 30], [10, 21, 30], [9, 20, 30], [10, 20, 31]] and mesh.unit == "m"


NESTED = "".join(
    f'<object id="{i + 1}"><components>{f"""<component objectid="{i}"/>""" * 10}</components></object>' for i in range(1, 9)
)
BAD = {
    "no archive": (None, "damaged or no 3MF"),
    "no XML": ("hello", "model part is damaged"),
    "cut": (model()[:-20], "model part is damaged"),
    "nothing built": (model(build=""), "builds nothing"),
    "an object that isn't there": (model(build='<item objectid="7"/>'), "isn't there before"),
    "an object within itself": (model('<object id="1"><components><component objectid="1"/></components></object>'), "builds nothing"),
    "a vertex too far": (model(SOLID.replace('v3="3"', 'v3="4"')), "vertices that aren't there"),
    "a vertex below 0": (model(SOLID.replace('v3="3"', 'v3="-1"')), "vertices that aren't there"),
    "a place that is no number": (model(SOLID.replace('x="1"', 'x="nan"')), "no numbers"),
    "a transform of 3": (model(build='<item objectid="1" transform="1 2 3"/>'), "expected 12 numbers"),
    "entities": (model(head='<!DOCTYPE a [<!ENTITY b "c">]>'), "document type"),
    "a bomb of components": (model(SOLID + NESTED, '<item objectid="9"/>'), "no plausible mesh"),
    "a bomb of blanks": (model(head=" " * 2**25), "would inflate"),
}


@pytest.mark.parametrize("text, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, text, reason):
    path = tmp_path / "mesh.3mf"
    with pytest.raises(InputError, match=reason) as caught:
        if text is None:
            path.write_bytes(b"PK no archive")
            read_mesh(path)
        mesh_of(tmp_path, text)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_an_archive_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.model part"):
        mesh_of(tmp_path, "text", name="readme.txt")
