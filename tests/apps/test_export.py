"""surfrecon export: lighter, smoother, closed meshes in every format, read back."""

from pathlib import Path

import numpy as np
import pytest
from solids import ball, together

from surfrecon.geometry import Mesh
from surfrecon.io import MESH_WRITERS, read_mesh, write_mesh
from surfrecon.repair import inspect, selected

CENTRE = np.array([8e5, 5.8e6, 120.0])
COLOURED = Path(__file__).parents[2].parent / "shared/data/coloured/ankylosaurus_mesh.ply"


@pytest.fixture
def coloured(tmp_path):
    """A sphere of radius 2 at UTM coordinates, red where x is high, blue where it is low."""
    mesh = ball(2.0, CENTRE)
    share = (mesh.vertices[:, 0] - CENTRE[0]) / 4 + 0.5
    colors = np.column_stack([share, 0 * share, 1 - share])
    mesh = Mesh(mesh.vertices, mesh.faces, normals=mesh.vertex_normals(), colors=colors, scalars={"confidence": share.astype(np.float32)})
    write_mesh(mesh, tmp_path / "in.ply")
    return tmp_path / "in.ply"


@pytest.mark.parametrize("suffix", [suffix for suffix in MESH_WRITERS])
def test_decimated_solid_is_solid_in_each_format_and_where_it_was(suffix, coloured, tmp_path, surfrecon):
    out = tmp_path / f"out{suffix}"
    ended = surfrecon("export", coloured, out, "--faces", 2000, "--json")
    assert ended.code == 0 and ended.json["solid"] and 1800 <= ended.json["faces"] <= 2000
    mesh = read_mesh(out)
    assert inspect(mesh).solid and len(mesh.faces) == ended.json["faces"]
    assert np.abs(np.linalg.norm(mesh.vertices - CENTRE, axis=1) - 2).max() < 0.02
    if suffix in (".ply", ".glb", ".obj"):
        share = (mesh.vertices[:, 0] - CENTRE[0]) / 4 + 0.5
        assert np.abs(mesh.colors - np.column_stack([share, 0 * share, 1 - share])).max() < 0.02
    if suffix in (".ply", ".glb"):
        assert np.abs(mesh.scalars["confidence"] - share).max() < 0.02


def test_error_is_kept_and_told(coloured, tmp_path, surfrecon):
    ended = surfrecon("export", coloured, tmp_path / "out.ply", "--error", 0.01, "--json")
    assert ended.code == 0 and 0.002 < ended.json["decimation_moved"] <= 0.01 and ended.json["faces"] < 10_000
    ended = surfrecon("export", coloured, tmp_path / "out2.ply", "--error", 0.01)
    assert "decimation moved the surface by at most" in ended.out and "solid" in ended.out


def test_largest_piece_smoothed_and_closed(tmp_path, surfrecon):
    mesh = ball(level=4)
    broken = selected(mesh, np.arange(len(mesh.faces)) > 0)
    write_mesh(together(broken, ball(0.1, (3, 0, 0), level=1)), tmp_path / "in.ply")
    ended = surfrecon("export", tmp_path / "in.ply", tmp_path / "out.stl", "--largest", "--holes", "close", "--smooth", 5, "--json")
    assert ended.code == 0
    facts = ended.json
    assert (facts["pieces_left_out"], facts["holes_closed"], facts["holes_left"], facts["solid"]) == (1, 1, 0, True)
    assert 0 < facts["smoothing_moved"] < 0.02
    assert read_mesh(tmp_path / "out.stl").volume() == pytest.approx(mesh.volume(), rel=0.01)


def test_open_mesh_stays_open_unless_told_otherwise(tmp_path, surfrecon):
    mesh = ball(level=4)
    write_mesh(selected(mesh, mesh.triangles()[:, :, 2].mean(1) < 0.5), tmp_path / "in.ply")
    ended = surfrecon("export", tmp_path / "in.ply", tmp_path / "out.ply", "--faces", 1000)
    assert ended.code == 0 and "open, manifold" in ended.out
    assert not inspect(read_mesh(tmp_path / "out.ply")).closed


@pytest.mark.skipif(not COLOURED.exists(), reason="the coloured mesh of ../shared/data is not here")
def test_scanned_ankylosaurus_keeps_its_mean_colour(tmp_path, surfrecon):
    assert surfrecon("export", COLOURED, tmp_path / "out.glb", "--faces", 8000).code == 0
    before, after = read_mesh(COLOURED), read_mesh(tmp_path / "out.glb")
    assert len(after.faces) <= 8160 and np.abs(after.bounds() - before.bounds()).max() < 0.01 * np.ptp(before.bounds(), axis=0).max()
    mean = lambda mesh: np.average(mesh.colors[mesh.faces].mean(1), axis=0, weights=np.linalg.norm(mesh.area_vectors(), axis=1))
    assert np.abs(mean(after) - mean(before)).max() < 0.02


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("in.ply", "out.xyz"), "can't write .xyz"),
        (("in.ply", "in.ply", "--overwrite"), "would be overwritten"),
        (("in.ply", "there.ply"), "exists; add --overwrite"),
        (("none.ply", "out.ply"), "there is no such file"),
        (("flat.ply", "out.ply"), "faces have no area"),
        (("in.ply", "out.ply", "--faces", "3"), "must be a whole number >= 4, got '3'"),
        (("in.ply", "out.ply", "--error", "-1"), "must be a number > 0, got '-1'"),
        (("in.ply", "out.ply", "--error", "1", "--faces", "9"), "not allowed with"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_can_not_be_exported_is_refused_in_one_sentence_and_nothing_written(arguments, said, tmp_path, monkeypatch, surfrecon):
    monkeypatch.chdir(tmp_path)
    write_mesh(ball(level=1), tmp_path / "in.ply")
    write_mesh(Mesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]), tmp_path / "flat.ply")
    (tmp_path / "there.ply").write_text("mine")
    ended = surfrecon("export", *arguments)
    assert (ended.code, ended.out) == (2, "") and said in ended.err and ended.err.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["flat.ply", "in.ply", "there.ply"]


def test_branching_faces_are_passed_on_and_named(tmp_path, surfrecon):
    book = Mesh([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]], [[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    write_mesh(book, tmp_path / "in.ply")
    ended = surfrecon("export", tmp_path / "in.ply", tmp_path / "out.ply", "--faces", "4", "--holes", "close", "--smooth", "2")
    assert ended.code == 0 and "not manifold" in ended.out and "can't be closed" in ended.out


def test_unit_of_a_printers_file_is_kept(tmp_path, surfrecon):
    whole = ball(level=4)
    write_mesh(Mesh(whole.vertices, whole.faces[1:], unit="ft"), tmp_path / "in.3mf")
    assert surfrecon("export", tmp_path / "in.3mf", tmp_path / "out.3mf", "--faces", 500, "--holes", "close", "--smooth", 1).code == 0
    assert read_mesh(tmp_path / "out.3mf").unit == "ft"
