"""Short loops of a graph: what they are, by a graph whose loops are known, and by shortest paths on its cover."""

import numpy as np
import pytest
import torch

from surfrecon import ops
from surfrecon.errors import InputError

ROWS, COLUMNS = 12, 7


def graph_of(edges: np.ndarray, lengths: np.ndarray, words: np.ndarray) -> list[torch.Tensor]:
    """first, neighbour, edge, length and words of (E, 2) edges."""
    start, end = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
    order = np.argsort(start, kind="stable")
    first = np.searchsorted(start[order], np.arange(edges.max() + 2))
    arrays = first, end[order], np.tile(np.arange(len(edges)), 2)[order], lengths.astype(np.float32), words.astype(np.int64)
    return [torch.from_numpy(array) for array in arrays]


def torus(seed: int = 0) -> tuple[list[torch.Tensor], np.ndarray]:
    """A lattice that closes both ways, and its edges; those over either seam have a word of their own."""
    i, j = (axis.ravel() for axis in np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij"))
    name = lambda a, b: (a % ROWS) * COLUMNS + b % COLUMNS
    edges = np.concatenate([np.stack([name(i, j), name(i + 1, j)], 1), np.stack([name(i, j), name(i, j + 1)], 1)])
    words = np.concatenate([np.where(i == ROWS - 1, 1, 0), np.where(j == COLUMNS - 1, 2, 0)])
    return graph_of(edges, np.random.default_rng(seed).uniform(1, 1.1, len(edges)), words), edges


def shortest(graph: list[torch.Tensor], edges: np.ndarray, root: int) -> float:
    """Length of the shortest odd loop over a root: of a path to it on the other sheets of the graph's cover."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    count, length, words = ROWS * COLUMNS, graph[3].double().numpy(), graph[4].numpy()
    tails = np.concatenate([edges[:, 0] + count * sheet for sheet in range(4)])
    heads = np.concatenate([edges[:, 1] + count * (sheet ^ words) for sheet in range(4)])
    cover = coo_matrix((np.tile(length, 4), (tails, heads)), shape=(4 * count,) * 2).tocsr()
    return float(dijkstra(cover, directed=False, indices=root)[root + count * np.arange(1, 4)].min())


def loops_of(found: tuple[torch.Tensor, ...]) -> list[list[int]]:
    vertices, sizes, _ = found
    return [part.tolist() for part in vertices.split(sizes.tolist())]


def test_loop_over_each_root_is_the_shortest_of_the_odd_ones(backend):
    graph, edges = torus()
    names = {frozenset(edge): number for number, edge in enumerate(edges.tolist())}
    for root in (0, 17, 40, 83):
        found = backend.odd_loops(*graph, torch.tensor([root]), longest=20.0, near=0.0)
        (loop,) = loops_of(found)
        along = [names[frozenset(pair)] for pair in zip(loop, loop[1:] + loop[:1])]
        assert len(set(loop)) == len(loop)
        assert np.bitwise_xor.reduce(graph[4].numpy()[along]) == int(found[2][0]) != 0
        if root in loop:  # else it had a tail, which is left out
            assert float(graph[3][along].sum()) == pytest.approx(shortest(graph, edges, root), rel=1e-5)


def test_longer_loops_do_not_count_and_graphs_without_words_have_none(backend):
    graph, _ = torus()
    roots = torch.arange(ROWS * COLUMNS)
    assert not len(backend.odd_loops(*graph, roots, longest=6.9, near=0.0)[0])
    assert len(backend.odd_loops(*graph, roots, longest=7.8, near=0.0)[1])
    assert not len(backend.odd_loops(*graph[:4], torch.zeros_like(graph[4]), roots, longest=20.0, near=0.0)[0])


def test_roots_near_one_that_was_searched_from_are_left_out(backend):
    graph, _ = torus()
    roots = torch.arange(ROWS * COLUMNS)
    count = lambda near: len(backend.odd_loops(*graph, roots, longest=20.0, near=near)[1])
    assert len(roots) == count(0.0) > count(1.2) > count(2.5) >= 1


def test_native_finds_the_references_loops_beyond_its_first_room(native):
    graph, _ = torus()
    roots = torch.arange(ROWS * COLUMNS)  # their loops have more vertices than the graph
    mine, theirs = (backend.odd_loops(*graph, roots, longest=20.0, near=0.0) for backend in (native, ops.reference))
    assert len(theirs[0]) > 5 * ROWS * COLUMNS
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs))


def test_graphs_that_do_not_fit_together_are_refused(backend):
    graph, _ = torus()
    with pytest.raises(InputError, match="neighbour must be"):
        backend.odd_loops(graph[0], graph[1][1:], *graph[2:], torch.tensor([0]), longest=1.0, near=0.0)
    with pytest.raises(InputError, match="roots"):
        backend.odd_loops(*graph, torch.tensor([0.0]), longest=1.0, near=0.0)
