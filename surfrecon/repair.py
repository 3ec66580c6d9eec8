"""What a mesh is, topologically and by measure, and whether it may be called solid.

Letters: V vertices, F faces, E edges (unordered pairs of vertices that some face joins). A corner is one face at one vertex; a fan is a
set of corners of one vertex that are linked through edges of exactly two faces. A vertex with one fan looks like a disc, or half a disc.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from surfrecon.geometry import Mesh

LEAST_SUPPORT = 0.005  # of the points: a piece that fewer points lie nearest to was not scanned
DEGENERATE_AREA = 1e-12  # of the longest side's square: below it a face has no area worth the name


@dataclass(frozen=True)
class MeshReport:
    """Counts and measures of a mesh, in its own units.

    Attributes:
        components: pieces that no vertex connects.
        boundary_edges: edges of one face.
        nonmanifold_edges: edges of more than two faces.
        nonmanifold_vertices: vertices with more than one fan.
        inconsistent_edges: edges whose two faces run along them in the same direction.
        degenerate_faces: faces without area.
        duplicate_positions: vertices at a place that an earlier vertex already takes.
        unused_vertices: vertices of no face.
        volume: signed; positive where faces are counter-clockwise from outside. Means nothing for an open mesh.
        euler: V - E + F over the vertices in use.
        genus: handles, summed over the components; None unless closed and manifold.
    """

    vertices: int
    faces: int
    components: int
    boundary_edges: int
    nonmanifold_edges: int
    nonmanifold_vertices: int
    inconsistent_edges: int
    degenerate_faces: int
    duplicate_positions: int
    unused_vertices: int
    volume: float
    area: float
    euler: int
    genus: int | None

    @property
    def closed(self) -> bool:
        return self.faces > 0 and self.boundary_edges == 0

    @property
    def manifold(self) -> bool:
        return self.nonmanifold_edges == 0 and self.nonmanifold_vertices == 0

    @property
    def oriented(self) -> bool:
        return self.inconsistent_edges == 0

    @property
    def solid(self) -> bool:
        """Whether the mesh bounds a body: closed, manifold, consistently wound and not inside out."""
        return self.closed and self.manifold and self.oriented and self.volume > 0

    def as_dict(self) -> dict:
        return asdict(self) | {name: getattr(self, name) for name in ("closed", "manifold", "oriented", "solid")}


@dataclass(frozen=True)
class _Edges:
    """Every side of every face, sorted so that sides of one edge follow each other.

    Attributes:
        side: (3 F,) 3 * face + i for the side from corner i to corner i + 1, in order of edges.
        start: (E + 1,) where each edge's sides begin in `side`.
        along: (3 F,) whether each side runs from the lower vertex to the higher.
    """

    side: np.ndarray
    start: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, faces: np.ndarray) -> _Edges:
        tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
        key = np.minimum(tail, head) * (int(faces.max(initial=0)) + 1) + np.maximum(tail, head)
        side = np.argsort(key)
        key = key[side]
        start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1], [True]])) if len(key) else np.zeros(1, int)
        return cls(side, start, (tail < head)[side])

    @property
    def count(self) -> np.ndarray:
        """(E,) faces around each edge."""
        return np.diff(self.start)

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(P,) first and second side of each edge of exactly two faces, (P,) whether they run against each other, as they should."""
        first = self.start[:-1][self.count == 2]
        return self.side[first], self.side[first + 1], self.along[first] != self.along[first + 1]


def _groups(count: int, a: np.ndarray, b: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of connected groups of `count` items linked by pairs (a, b), and the group of each item."""
    return connected_components(coo_matrix((np.ones(len(a), bool), (a, b)), shape=(count, count)), directed=False)


def fans(faces: np.ndarray, edges: _Edges | None = None) -> tuple[int, np.ndarray]:
    """Number of fans, and the fan (3 F,) of each corner in row-major order of `faces`."""
    first, second, opposed = (edges or _Edges.of(faces)).pairs()
    after = lambda side: side - side % 3 + (side + 1) % 3
    # Sides that run against each other meet tail to head; otherwise tail to tail.
    tail, head = np.where(opposed, after(second), second), np.where(opposed, second, after(second))
    return _groups(3 * len(faces), np.concatenate([first, after(first)]), np.concatenate([tail, head]))


def pieces(mesh: Mesh) -> tuple[int, np.ndarray]:
    """Number of connected pieces, and the piece (V,) of each vertex; a vertex of no face is a piece of its own."""
    faces = mesh.faces
    return _groups(len(mesh.vertices), faces[:, :2].ravel(), faces[:, 1:].ravel())


def inspect(mesh: Mesh) -> MeshReport:
    """Counts and measures of a mesh: topology by index, as stored."""
    faces, vertices = mesh.faces, mesh.vertices
    edges = _Edges.of(faces)
    count = edges.count
    fan_count, fan = fans(faces, edges)
    vertex_of_fan = np.empty(fan_count, np.int64)
    vertex_of_fan[fan] = faces.ravel()
    fans_of_vertex = np.bincount(vertex_of_fan, minlength=len(vertices))
    unused = int((fans_of_vertex == 0).sum())
    components = pieces(mesh)[0] - unused
    euler = len(vertices) - unused - len(count) + len(faces)
    boundary, branching, pinched = int((count == 1).sum()), int((count > 2).sum()), int((fans_of_vertex > 1).sum())
    areas = np.linalg.norm(mesh.area_vectors(), axis=1)
    extent = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
    order = np.lexsort(vertices.T)
    return MeshReport(
        vertices=len(vertices),
        faces=len(faces),
        components=components,
        boundary_edges=boundary,
        nonmanifold_edges=branching,
        nonmanifold_vertices=pinched,
        inconsistent_edges=int((~edges.pairs()[2]).sum()),
        degenerate_faces=int((areas <= DEGENERATE_AREA * extent**2).sum()),
        duplicate_positions=int((vertices[order[1:]] == vertices[order[:-1]]).all(axis=1).sum()),
        unused_vertices=unused,
        volume=mesh.volume(),
        area=float(areas.sum()),
        euler=euler,
        genus=components - euler // 2 if len(faces) and boundary == branching == pinched == 0 else None,
    )


def selected(mesh: Mesh, faces: np.ndarray) -> Mesh:
    """The part of a mesh that a mask (F,) of faces keeps, without the vertices that fall out of use."""
    kept = mesh.faces[faces]
    used = np.zeros(len(mesh.vertices), bool)
    used[kept] = True
    row = np.cumsum(used) - 1
    pick = lambda value: None if value is None else value[used]
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=row[kept],
        normals=pick(mesh.normals),
        colors=pick(mesh.colors),
        scalars={name: value[used] for name, value in mesh.scalars.items()},
    )


def supported(mesh: Mesh, points: np.ndarray) -> Mesh:
    """The pieces of a mesh that a share of at least LEAST_SUPPORT of the points (N, 3) lie nearest to; the best supported one always."""
    count, piece = pieces(mesh)
    if count == 1:
        return mesh
    votes = np.bincount(piece[cKDTree(mesh.vertices).query(points, workers=-1)[1]], minlength=count)
    kept = votes >= min(LEAST_SUPPORT * len(points), votes.max())
    return selected(mesh, kept[piece[mesh.faces[:, 0]]])


def trim(mesh: Mesh, seen: np.ndarray) -> Mesh | None:
    """The faces with a vertex that was seen (V,), or None where there is none."""
    faces = seen[mesh.faces].any(axis=1)
    return selected(mesh, faces) if faces.any() else None
