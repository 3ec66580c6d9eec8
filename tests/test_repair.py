"""What inspect() says of meshes made by hand, and what selecting, supporting and trimming keep."""

import numpy as np
import pytest
import trimesh

from surfrecon.geometry import Mesh
from surfrecon.repair import fans, inspect, pieces, selected, supported, trim

CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)  # vertex x + 2 y + 4 z
QUADS = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]  # counter-clockwise from outside
CUBE = np.array([face for a, b, c, d in QUADS for face in ((a, b, c), (a, c, d))])


def cube(corner=(0, 0, 0)) -> Mesh:
    return Mesh(CORNERS + corner, CUBE)


def welded(*meshes: Mesh) -> Mesh:
    """One mesh in which equal positions are one vertex."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets)])
    vertices, row = np.unique(np.concatenate([mesh.vertices for mesh in meshes]), axis=0, return_inverse=True)
    return Mesh(vertices, row.ravel()[faces])


def torus(around: int = 12, across: int = 8) -> Mesh:
    """A closed grid of around * across quads, each cut in two."""
    i, j = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    u, v = 2 * np.pi * i.ravel() / around, 2 * np.pi * j.ravel() / across
    ring = 2 + np.cos(v)
    at = lambda a, b: (a % around * across + b % across).ravel()
    a, b, c, d = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    return Mesh(
        np.column_stack([ring * np.cos(u), ring * np.sin(u), np.sin(v)]), np.concatenate([np.stack(t, 1) for t in ((a, b, c), (a, c, d))])
    )


def counts(mesh: Mesh, *names: str) -> tuple:
    report = inspect(mesh)
    return tuple(getattr(report, name) for name in names)


FLAWS = (
    "boundary_edges",
    "nonmanifold_edges",
    "nonmanifold_vertices",
    "inconsistent_edges",
    "degenerate_faces",
    "duplicate_positions",
    "unused_vertices",
)


def test_cube_is_solid_with_volume_and_area_one_and_six():
    report = inspect(cube())
    assert report.solid and report.closed and report.manifold and report.oriented
    assert counts(cube(), *FLAWS) == (0,) * len(FLAWS)
    assert (report.vertices, report.faces, report.components, report.euler, report.genus) == (8, 12, 1, 2, 0)
    assert report.volume == pytest.approx(1) and report.area == pytest.approx(6)


@pytest.mark.parametrize("level", [0, 1, 4])
def test_sphere_has_euler_two_and_nearly_its_volume(level):
    ball = trimesh.creation.icosphere(level)
    report = inspect(Mesh(ball.vertices, ball.faces))
    assert report.solid and (report.euler, report.genus, report.components) == (2, 0, 1)
    lost = 1 - report.volume / (4 / 3 * np.pi)
    assert lost == pytest.approx({0: 1 - 2.53615 / 4.18879, 1: 0.1265, 4: 0.0021}[level], rel=0.05)


def test_torus_has_genus_one():
    report = inspect(torus())
    assert report.solid and (report.euler, report.genus, report.components) == (0, 1, 1)
    exact = 2 * np.pi**2 * 2
    assert exact * 0.8 < report.volume < exact


def test_genus_adds_up_over_components():
    far = Mesh(torus().vertices + np.array([10, 0, 0]), torus().faces)
    assert counts(welded(torus(), far, cube((0, 0, 9))), "components", "euler", "genus", "solid") == (3, 2, 2, True)


def test_inside_out_cube_differs_by_its_signed_volume_alone():
    inside_out = inspect(Mesh(CORNERS, CUBE[:, ::-1]))
    assert inside_out.closed and inside_out.manifold and inside_out.oriented and not inside_out.solid
    assert inside_out.volume == pytest.approx(-1)
    assert inside_out.as_dict() | {"volume": 0, "solid": 0} == inspect(cube()).as_dict() | {"volume": 0, "solid": 0}


def test_volume_does_not_lose_its_digits_in_utm():
    assert inspect(cube((8e5, 5.8e6, 300))).volume == pytest.approx(1, abs=1e-9)


def test_cubes_sharing_an_edge_have_one_nonmanifold_edge():
    mesh = welded(cube(), cube((1, 1, 0)))
    assert counts(mesh, *FLAWS) == (0, 1, 2, 0, 0, 0, 0)  # its two ends have two fans each
    assert counts(mesh, "vertices", "components", "closed", "manifold", "solid", "genus") == (14, 1, True, False, False, None)


def test_cubes_sharing_a_vertex_have_one_nonmanifold_vertex():
    mesh = welded(cube(), cube((1, 1, 1)))
    assert counts(mesh, *FLAWS) == (0, 0, 1, 0, 0, 0, 0)
    assert counts(mesh, "vertices", "components", "closed", "manifold", "solid", "genus") == (15, 1, True, False, False, None)
    assert fans(mesh.faces)[0] == 16  # one per vertex, two at the shared one


def test_cubes_sharing_a_face_have_four_edges_of_three_and_more():
    assert counts(welded(cube(), cube((1, 0, 0))), "nonmanifold_edges", "boundary_edges", "solid") == (5, 0, False)  # the diagonal too


def test_the_same_cubes_not_welded_are_two_solids_with_duplicate_positions():
    both = Mesh(np.concatenate([CORNERS, CORNERS + np.array([1, 1, 0])]), np.concatenate([CUBE, CUBE + 8]))
    assert counts(both, *FLAWS) == (0, 0, 0, 0, 0, 2, 0)
    assert counts(both, "components", "solid", "volume") == (2, True, pytest.approx(2))


def test_disc_has_its_rim_as_boundary_and_no_genus():
    n = 7
    rim = np.array([[np.cos(t), np.sin(t), 0] for t in 2 * np.pi * np.arange(n) / n])
    disc = Mesh(np.concatenate([[[0, 0, 0]], rim]), [[0, 1 + i, 1 + (i + 1) % n] for i in range(n)])
    assert counts(disc, *FLAWS) == (n, 0, 0, 0, 0, 0, 0)
    assert counts(disc, "euler", "genus", "closed", "manifold", "oriented", "solid") == (1, None, False, True, True, False)


def test_discs_meeting_at_one_vertex_are_pinched_there():
    bow = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]], [[0, 1, 2], [0, 3, 4]])
    assert counts(bow, "boundary_edges", "nonmanifold_vertices", "components") == (6, 1, 1)


def test_removed_face_leaves_three_boundary_edges():
    assert counts(Mesh(CORNERS, CUBE[1:]), "boundary_edges", "closed", "euler") == (3, False, 1)


def test_flipped_face_makes_its_three_edges_inconsistent_but_stays_manifold():
    faces = CUBE.copy()
    faces[5] = faces[5, ::-1]
    assert counts(Mesh(CORNERS, faces), *FLAWS) == (0, 0, 0, 3, 0, 0, 0)
    assert counts(Mesh(CORNERS, faces), "manifold", "oriented", "solid", "euler") == (True, False, False, 2)


def test_moebius_band_cannot_be_oriented():
    n = 9
    faces = []
    for i in range(n):
        a, b = 2 * i, 2 * i + 1
        c, d = (2 * i + 2, 2 * i + 3) if i < n - 1 else (1, 0)
        faces += [[a, c, b], [b, c, d]]
    turn = np.pi * np.arange(n) / n
    centre = np.column_stack([np.cos(2 * turn), np.sin(2 * turn), np.zeros(n)])
    arm = 0.3 * np.column_stack([np.cos(turn) * np.cos(2 * turn), np.cos(turn) * np.sin(2 * turn), np.sin(turn)])
    band = Mesh(np.stack([centre - arm, centre + arm], axis=1).reshape(-1, 3), faces)
    assert counts(band, "euler", "boundary_edges", "nonmanifold_edges", "nonmanifold_vertices", "inconsistent_edges") == (0, 2 * n, 0, 0, 1)


def test_duplicate_face_makes_its_edges_nonmanifold():
    assert counts(Mesh(CORNERS, np.concatenate([CUBE, CUBE[:1]])), "nonmanifold_edges", "boundary_edges") == (3, 0)


@pytest.mark.parametrize("last", [[0, 0, 0], [0.5, 0, 0], [0.5, 1e-13, 0]], ids=["repeated position", "collinear", "nearly collinear"])
def test_faces_without_area_are_counted(last):
    assert counts(Mesh([[0, 0, 0], [1, 0, 0], last], [[0, 1, 2]]), "degenerate_faces") == (1,)


def test_tiny_meshes_are_not_degenerate():
    assert counts(Mesh(1e-9 * CORNERS, CUBE), "degenerate_faces", "solid") == (0, True)


def test_unused_vertices_count_in_nothing_else():
    loose = Mesh(np.concatenate([CORNERS, [[9, 9, 9], [8, 8, 8]]]), CUBE)
    assert counts(loose, "unused_vertices", "components", "euler", "genus", "solid") == (2, 1, 2, 0, True)
    assert pieces(loose)[0] == 3


@pytest.mark.parametrize("vertices", [np.zeros((0, 3)), CORNERS], ids=["nothing", "vertices"])
def test_a_mesh_without_faces_is_neither_closed_nor_solid(vertices):
    mesh = Mesh(vertices, np.zeros((0, 3)))
    assert counts(mesh, "closed", "solid", "components", "euler", "volume", "area", "genus") == (False, False, 0, 0, 0, 0, None)
    assert counts(mesh, "unused_vertices") == (len(vertices),)


def test_report_does_not_depend_on_the_order_of_faces_and_vertices():
    random = np.random.default_rng(0)
    mesh = welded(torus(), cube((5, 0, 0)), cube((6, 1, 0)))
    order, new = random.permutation(len(mesh.faces)), random.permutation(len(mesh.vertices))
    vertices = np.empty_like(mesh.vertices)
    vertices[new] = mesh.vertices
    turned = np.stack([np.roll(face, k) for face, k in zip(new[mesh.faces[order]], random.integers(0, 3, len(order)))])
    first, second = inspect(mesh).as_dict(), inspect(Mesh(vertices, turned)).as_dict()
    assert {k: v for k, v in first.items() if k not in ("volume", "area")} == {
        k: v for k, v in second.items() if k not in ("volume", "area")
    }
    assert (first["volume"], first["area"]) == pytest.approx((second["volume"], second["area"]))


# what is kept --------------------------------------------------------------------------------------------------------------------


def test_selected_keeps_attributes_with_their_vertices():
    rows = np.arange(16)
    mesh = Mesh(
        np.concatenate([CORNERS, CORNERS + 5]),
        np.concatenate([CUBE, CUBE + 8]),
        normals=np.eye(3)[rows % 3],
        colors=np.full((16, 3), 0.5),
        scalars={"row": rows},
        crs="EPSG:25832",
    )
    part = selected(mesh, np.arange(24) >= 12)
    assert inspect(part).solid and part.crs == "EPSG:25832" and len(part.colors) == 8
    assert part.scalars["row"].tolist() == list(range(8, 16))
    assert (part.vertices == CORNERS + 5).all() and (part.normals == np.eye(3)[rows[8:] % 3]).all()


def test_supported_drops_pieces_that_no_point_lies_near_but_never_the_best():
    mesh = welded(cube(), cube((5, 0, 0)), cube((0, 9, 0)))
    points = np.concatenate([CORNERS] * 100 + [CORNERS + np.array([5, 0, 0])])  # 1 % near the second, none near the third
    assert inspect(supported(mesh, points)).components == 2
    assert supported(mesh, points[:8]).vertices.max() == 1
    assert len(supported(cube(), points + 50).faces) == 12


def test_trim_keeps_faces_that_touch_what_was_seen():
    seen = np.zeros(8, bool)
    seen[0] = True
    kept = trim(cube(), seen)
    assert len(kept.faces) == (CUBE == 0).any(1).sum() and not inspect(kept).closed
    assert trim(cube(), np.zeros(8, bool)) is None
    assert inspect(trim(cube(), np.ones(8, bool))).solid
