"""Scores of a plane sweep: a slow loop over windows, closed forms, and the kernel against the reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import Room, Source, reference
from surfrecon.ops.sweep import FILLED

SIZE, THERE = (21, 26), (24, 30)
TURN = torch.tensor([[1.01, 0.03, 2.37], [-0.02, 0.98, 1.13], [1e-3, -5e-4, 1.0]])
SHIFT = torch.tensor([3.7, 1.9, 0.05])
CONTRAST = 0.006
CLOSE = 2e-3  # float32: variances are differences of sums some hundred times as large; such noise moves positions by 1e-5 pixels as well


def picture(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.rand(size, generator=generator) - 0.5


def case(generator: torch.Generator, *, sources: int = 2, hypotheses: int = 3) -> tuple:
    """grey, mask, sources, guide, offsets."""
    mask = torch.ones(SIZE)
    mask[:4, 5:11] = 0
    found = []
    for s in range(sources):
        shown = torch.ones(THERE)
        shown[9:12, 20:23] = 0
        shift = SHIFT * (1 + 0.3 * s)
        found.append(Source(picture(THERE, generator), shown, TURN, shift))
    return picture(SIZE, generator), mask, found, 1 + 0.1 * picture(SIZE, generator), torch.linspace(-0.3, 0.3, hypotheses)


def slow(grey: Tensor, mask: Tensor, source: Source, w: Tensor, window: int) -> np.ndarray:
    """(H, W) correlations, pixel by pixel, in double precision."""
    a, own, b, shown = (tensor.double().numpy() for tensor in (grey, mask, source.grey, source.mask))
    turn, shift = source.turn.double().numpy(), source.shift.double().numpy()
    warped, seen = np.zeros(a.shape), np.zeros(a.shape, bool)
    for row, column in np.ndindex(a.shape):
        x, y, z = turn @ (column + 0.5, row + 0.5, 1) + float(w[row, column]) * shift
        x, y = x / z - 0.5, y / z - 0.5
        i, j = int(np.floor(y)), int(np.floor(x))
        if z > 0 and 0 <= i < b.shape[0] - 1 and 0 <= j < b.shape[1] - 1 and shown[i : i + 2, j : j + 2].all() and own[row, column]:
            fy, fx = y - i, x - j
            warped[row, column] = (1 - fy) * (1 - fx) * b[i, j] + (1 - fy) * fx * b[i, j + 1]
            warped[row, column] += fy * (1 - fx) * b[i + 1, j] + fy * fx * b[i + 1, j + 1]
            seen[row, column] = True
    result, half = np.full(a.shape, -1.0), window // 2
    for row, column in np.argwhere(seen):
        part = slice(max(0, row - half), row + half + 1), slice(max(0, column - half), column + half + 1)
        here, there = a[part][seen[part]], warped[part][seen[part]]
        if len(here) >= FILLED * window**2:
            product = (here - here.mean()) @ (there - there.mean()) / len(here)
            result[row, column] = product / np.sqrt(here.var() * there.var() + CONTRAST**4)
    return result


@pytest.mark.parametrize("window", [3, 7, 11])
@pytest.mark.parametrize("two", [False, True], ids=["best", "best-two"])
def test_scores_are_those_of_a_slow_loop(window, two, backend, generator):
    grey, mask, sources, guide, offsets = case(generator, sources=3)
    found = backend.sweep_scores(grey, mask, sources, guide, offsets, window=window, two=two, contrast=CONTRAST)
    for p, offset in enumerate(offsets):
        each = np.sort([slow(grey, mask, source, guide + offset, window) for source in sources], axis=0)[::-1]
        np.testing.assert_allclose(found[p].numpy(), each[:2].mean(axis=0) if two else each[0], rtol=0, atol=CLOSE)


def test_a_picture_looks_like_itself_where_it_is_moved(backend, generator):
    there = picture((80, 150), generator)
    here = there[5:75, 12:142].contiguous()  # more than a tile
    source = Source(there, torch.ones_like(there), torch.eye(3), torch.tensor([24.0, 10.0, 0.0]))
    guide = torch.full(here.shape, 0.4)
    scores = backend.sweep_scores(
        here, torch.ones_like(here), [source], guide, torch.tensor([0.0, 0.1, 0.2]), window=7, two=False, contrast=CONTRAST
    )
    scores = scores[:, 1:-1, 1:-1]  # windows in the corners are less than FILLED
    assert (scores[1] > 0.999).all() and (scores[[0, 2]] < 0.9).all()


def test_brightness_and_contrast_do_not_matter(backend, generator):
    grey, mask, sources, guide, offsets = case(generator, sources=1)
    usual = backend.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=False, contrast=CONTRAST)
    dim = [replace(sources[0], grey=0.5 * sources[0].grey - 0.2)]
    torch.testing.assert_close(
        backend.sweep_scores(grey, mask, dim, guide, offsets, window=7, two=False, contrast=CONTRAST), usual, rtol=0, atol=CLOSE
    )


def test_blank_windows_score_nothing(backend):
    blank = torch.full((16, 16), 0.3)
    source = Source(blank, torch.ones(16, 16), torch.eye(3), torch.zeros(3))
    scores = backend.sweep_scores(
        blank, torch.ones(16, 16), [source], torch.ones(16, 16), torch.zeros(1), window=5, two=False, contrast=CONTRAST
    )
    assert scores[:, 1:-1, 1:-1].abs().max() < 0.05


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (32, 64), (33, 65), (70, 200)], ids=str)
def test_kernel_has_the_scores_of_the_reference(size, native, generator):
    grey, mask = picture(size, generator), (torch.rand(size, generator=generator) > 0.05).float()
    there = (size[0] + 6, size[1] + 3)
    sources = [
        Source(picture(there, generator), (torch.rand(there, generator=generator) > 0.01).float(), TURN, s * SHIFT) for s in (0.5, 1.3)
    ]
    guide, offsets = 1 + 0.1 * picture(size, generator), torch.linspace(-0.2, 0.2, 5)
    for two in (False, True):
        found, wanted = (
            of.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=two, contrast=CONTRAST) for of in (native, reference)
        )
        off = (found - wanted).abs() > CLOSE
        assert off.float().mean() <= 1e-3  # a position on the border of a hole falls on either side of it


def test_positions_that_are_no_numbers_or_behind_are_not_seen(backend, generator):
    grey, mask, sources, guide, offsets = case(generator, sources=1)
    behind = [replace(sources[0], turn=-TURN, shift=-SHIFT)]
    assert (backend.sweep_scores(grey, mask, behind, guide, offsets, window=7, two=False, contrast=CONTRAST) == -1).all()
    guide[:, :13] = torch.nan
    scores = backend.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=False, contrast=CONTRAST)
    assert (scores[:, :, :13] == -1).all() and (scores[:, :, 13:] > -1).any() and not scores.isnan().any()


def test_outside_of_the_room_nothing_is_scored(backend, generator):
    grey, mask, sources, guide, offsets = case(generator)
    offsets = offsets / 3
    free = backend.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=False, contrast=CONTRAST)
    cells = torch.zeros(4, 4, 4, dtype=torch.bool)
    cells[1, 2, 0:2] = True  # z from 1 to 2, y from 2 to 3, x from 0 to 2
    room = Room(cells, torch.tensor([[0.1, 0, 0], [0, 0, 2.5], [0, 0, 0]]), torch.tensor([-0.03, 0.0, 1.5]))
    scores = backend.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=False, contrast=CONTRAST, room=room)
    x = torch.arange(SIZE[1]) + 0.5
    for p, offset in enumerate(offsets):
        w = guide + offset
        inside = (0.1 * x / w - 0.03 >= 0) & (0.1 * x / w - 0.03 < 2) & (2.5 / w >= 2) & (2.5 / w < 3)
        assert inside.any() and not inside.all()
        assert torch.equal(scores[p], torch.where(inside, free[p], -1))


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    size = (100, 140)
    grey, there = picture(size, generator), picture(size, generator)
    source = Source(there, torch.ones(size), TURN, SHIFT)
    sweep = lambda: native.sweep_scores(
        grey, torch.ones(size), [source], torch.ones(size), torch.zeros(3), window=7, two=False, contrast=CONTRAST
    )
    assert torch.equal(on_threads(1, sweep), on_threads(5, sweep))


def test_memory_layout_does_not_matter(native, generator):
    grey, mask, sources, guide, offsets = case(generator)
    wanted = native.sweep_scores(grey, mask, sources, guide, offsets, window=7, two=True, contrast=CONTRAST)
    scatter = lambda tensor: tensor.T.contiguous().T if tensor.ndim == 2 else torch.stack([tensor, tensor], dim=1)[:, 0]
    scattered = [Source(*map(scatter, (s.grey, s.mask, s.turn, s.shift))) for s in sources]
    found = native.sweep_scores(
        scatter(grey), scatter(mask), scattered, scatter(guide), scatter(offsets), window=7, two=True, contrast=CONTRAST
    )
    assert torch.equal(found, wanted)


def test_no_hypotheses_give_no_scores(backend, generator):
    grey, mask, sources, guide, _ = case(generator)
    assert backend.sweep_scores(grey, mask, sources, guide, torch.zeros(0), window=7, two=False, contrast=CONTRAST).shape == (0, *SIZE)


def test_double_precision_is_the_references():
    generator = torch.Generator().manual_seed(3)
    grey, mask, sources, guide, offsets = case(generator)
    double = [Source(*(tensor.double() for tensor in (s.grey, s.mask, s.turn, s.shift))) for s in sources]
    found = ops.sweep_scores(grey.double(), mask.double(), double, guide.double(), offsets.double(), window=7, two=False, contrast=CONTRAST)
    assert found.dtype == torch.float64
    wanted = np.max([slow(grey, mask, source, guide + offsets[1], 7) for source in sources], axis=0)
    np.testing.assert_allclose(found[1].numpy(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grey": torch.zeros(3)}, "grey must be"),
        ({"mask": torch.zeros(4, 4)}, "mask must be"),
        ({"guide": torch.zeros(SIZE).double()}, "guide must be .*float64"),
        ({"offsets": torch.zeros(2, 2)}, "offsets must be"),
        ({"sources": []}, "at least one source"),
        ({"sources": [Source(torch.zeros(3, 3), torch.zeros(3, 4), TURN, SHIFT)]}, "the mask of a source must be"),
        ({"sources": [Source(torch.zeros(0, 3), torch.zeros(0, 3), TURN, SHIFT)]}, "not empty"),
        ({"window": 8}, "odd number of pixels"),
        ({"window": 33}, "odd number of pixels, 1 to 31, got 33"),
        ({"room": Room(torch.zeros(2, 2, 2), TURN, SHIFT)}, "room's cells must be"),
        ({"room": Room(torch.zeros(2, 2, 2, dtype=torch.bool), SHIFT, SHIFT)}, "ray of the room must be"),
    ],
)
def test_what_cannot_be_taken_is_named(changed, said, backend, generator):
    names = ("grey", "mask", "sources", "guide", "offsets")
    usual = dict(zip(names, case(generator))) | {"window": 7, "two": False, "contrast": CONTRAST}
    with pytest.raises(InputError, match=said):
        backend.sweep_scores(**(usual | changed))


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11, 17])
def test_box_sums_match_a_slow_loop(window):
    values = np.random.default_rng(0).integers(0, 9, (2, 13, 12)).astype(np.float32)
    half = window // 2
    slow = np.empty_like(values)
    for i in range(13):
        for j in range(12):
            slow[:, i, j] = values[:, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1].sum((1, 2))
    np.testing.assert_array_equal(ops.box_sums(torch.as_tensor(values), window).numpy(), slow)
