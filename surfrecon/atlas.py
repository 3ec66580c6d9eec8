"""Where the faces of a mesh lie in a picture: charts by xatlas where it is installed and the mesh is small, else every face by itself.

By itself each face is a right triangle, its longest side as the hypotenuse, two to a square cell, cells in rows by size. Its corners are
middles of texels: along its legs no other texel takes part, and beyond the hypotenuse lies a row of its own, so nothing bleeds.

Letters: F faces, T texels. Positions in the picture as those of pixels everywhere: (column, row), the first texel's middle is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surfrecon.geometry import Mesh

MOST_FOR_CHARTS = 20_000  # faces: xatlas takes 1 s for 10,000, 5 s for 20,000, and more than twice for twice
PADDING = 4  # texels between charts: two rings of each chart's own, one where the picture had to be scaled down
CHARTS_FILL, CELLS_FILL = 0.6, 0.6  # share of the picture that faces take, roughly
LEGS = np.unique(np.round(2 * 2 ** (np.arange(20) / 2)).astype(int))  # texels along a leg, less one: sizes of triangles, by steps of sqrt 2
GAP = 3  # texels that two triangles' cell is larger than a leg
FINER = 0.97  # factor on the texels' density until all cells fit
REACH = 1.5  # texels beyond a face's edge, more than sqrt 2: bilinear sampling inside of it touches no others
CANDIDATES = 1 << 19  # texels looked at at a time


@dataclass(frozen=True, eq=False)
class Texels:
    """The texels that faces cover or that lie within REACH of one, each once.

    Attributes:
        row, column: (T,) in the picture.
        face: (T,) the face that covers it, else the nearest.
        weights: (T, 3) barycentric, of its middle; one is negative outside of the face.
        inside: (T,) whether its middle lies in the face.
    """

    row: np.ndarray
    column: np.ndarray
    face: np.ndarray
    weights: np.ndarray
    inside: np.ndarray


def unwrapped(mesh: Mesh, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Positions (F, 3, 2) in texels of each face's corners, and height and width of the picture, the larger of which is about `side`."""
    try:
        import xatlas
    except ImportError:
        xatlas = None
    if xatlas is not None and len(mesh.faces) <= MOST_FOR_CHARTS:
        return _charts(xatlas, mesh, side)
    return _cells(mesh, side)


def filling(mesh: Mesh) -> float:
    """Share of the picture that faces take in unwrapped(), roughly."""
    try:
        import xatlas  # noqa: F401

        return CHARTS_FILL if len(mesh.faces) <= MOST_FOR_CHARTS else CELLS_FILL
    except ImportError:
        return CELLS_FILL


def _charts(xatlas, mesh: Mesh, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    low, high = mesh.bounds()
    local = (mesh.vertices - low) / max(float((high - low).max()), np.finfo(float).tiny)
    atlas, pack = xatlas.Atlas(), xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = side, PADDING, True
    atlas.add_mesh(local.astype(np.float32), mesh.faces.astype(np.uint32))
    atlas.generate(pack_options=pack)
    _, corners, uv = atlas[0]
    # The resolution is a wish: what comes out larger is scaled down, padding and all.
    width, height = (np.array([atlas.width, atlas.height]) * min(1, side / max(atlas.width, atlas.height))).round().astype(int)
    return uv[corners].astype(float) * (width, height), (int(height), int(width))


def _cells(mesh: Mesh, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    edges = np.linalg.norm(np.roll(mesh.triangles(), -1, axis=1) - mesh.triangles(), axis=2)  # from corner i to i + 1
    root = np.sqrt(2 * np.linalg.norm(mesh.area_vectors(), axis=1))  # legs of the right triangle of the same area
    density = side / max(float(np.sqrt((root**2).sum() / 2)), np.finfo(float).tiny)
    while True:
        size = np.searchsorted(LEGS, np.minimum(density * root, LEGS[-1]))
        order = np.argsort(-size, kind="stable")  # in a class as the mesh has them, neighbours often side by side
        corner, height = _rows(LEGS[size[order]], side)
        if height <= side:
            break
        if not size.any():  # the smallest triangles don't fit: the picture must be larger than asked for
            side = height if height < 2 * side else 2 * side
        density *= FINER
    legs = LEGS[size]
    placed, second, cell = np.empty((len(legs), 2)), np.empty(len(legs), bool), np.empty(len(legs))
    placed[order], second[order], cell[order] = corner, np.arange(len(legs)) % 2 == 1, np.repeat(legs[order[::2]], 2)[: len(legs)]
    # Corner 0 of the pattern is the one across the longest side; the second triangle of a cell is the first turned by half a turn.
    pattern = legs[:, None, None] * np.array([[0.0, 0], [1, 0], [0, 1]])
    pattern = np.where(second[:, None, None], (cell + GAP - 1)[:, None, None] - pattern, pattern)
    apex = (edges.argmax(axis=1) + 2) % 3
    uv = np.empty((len(legs), 3, 2))
    for k in range(3):
        uv[np.arange(len(legs)), (apex + k) % 3] = placed + pattern[:, k] + 0.5
    return uv, (max(int(height), 1), side)


def _rows(legs: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """(F, 2) upper left texel of the cell of each triangle, falling legs (F,), in rows of one picture's width, and the rows' height.

    Two triangles that follow each other share a cell of the first one's size.
    """
    cells = legs[::2] + GAP
    corners, top, start = np.empty((len(cells), 2)), 0, 0
    while start < len(cells):
        cell = int(cells[start])
        count = min(max(width // cell, 1), len(cells) - start)  # smaller cells that follow share the row
        corners[start : start + count] = np.stack([cell * np.arange(count), np.full(count, top)], axis=1)
        top, start = top + cell, start + count
    return np.repeat(corners, 2, axis=0)[: len(legs)], top


def texels(uv: np.ndarray, shape: tuple[int, int]) -> Texels:
    """The texels of a picture of some height and width that faces with corners (F, 3, 2), in texels, cover or come near."""
    height, width = shape
    first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    double = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    faces = np.flatnonzero(np.abs(double) > np.finfo(np.float32).eps)  # others cover nothing
    low = np.clip(np.ceil(uv[faces].min(axis=1) - 0.5 - REACH), 0, (width, height)).astype(int)
    high = np.clip(np.floor(uv[faces].max(axis=1) - 0.5 + REACH) + 1, 0, (width, height)).astype(int)
    sides = high - low
    ends = np.cumsum(sides.prod(axis=1))
    away, owner = np.full(height * width, np.inf, np.float32), np.full(height * width, -1)
    weights = np.zeros((height * width, 3), np.float32)
    begin = 0
    while begin < len(faces):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CANDIDATES, side="right")))
        part = slice(begin, end)
        counts = sides[part].prod(axis=1)
        which = np.repeat(np.arange(begin, end), counts)
        number = np.arange(len(which)) - np.repeat(ends[part] - counts - done, counts)
        column, row = low[which, 0] + number % sides[which, 0], low[which, 1] + number // sides[which, 0]
        face = faces[which]
        x, y = (np.stack([column, row]) + 0.5) - uv[face, 0].T
        b = (x * second[face, 1] - y * second[face, 0]) / double[face]
        c = (y * first[face, 0] - x * first[face, 1]) / double[face]
        bary = np.stack([1 - b - c, b, c], axis=1)
        # Height of the triangle over each side, by which weights become distances.
        spans = np.linalg.norm(np.roll(uv[face], -1, axis=1) - np.roll(uv[face], -2, axis=1), axis=2)
        outside = (-bary * np.abs(double[face])[:, None] / np.maximum(spans, np.finfo(np.float32).eps)).max(axis=1)
        near = np.flatnonzero(outside <= REACH)
        near = near[np.argsort(-outside[near], kind="stable")]  # of two at one texel the nearer stays, as it comes last
        at = row[near] * width + column[near]
        better = outside[near] < away[at]
        near, at = near[better], at[better]
        away[at], owner[at], weights[at] = outside[near], face[near], bary[near]
        begin = end
    found = np.flatnonzero(owner >= 0)
    return Texels(found // width, found % width, owner[found], weights[found].astype(float), away[found] <= 0)
