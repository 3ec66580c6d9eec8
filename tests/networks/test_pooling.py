"""surfrecon.networks.pooling: beside a loop over points."""

import pytest
import torch

from surfrecon.networks.pooling import Attention, Cells, sampled


@pytest.fixture
def places():
    return torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 4.0, 2.0])


def by_cell(places, features, shape):
    """{(cloud, cell): rows of features}."""
    found = {}
    for cloud in range(len(places)):
        for place, row in zip(places[cloud], features[cloud]):
            found.setdefault((cloud, *(int(p) for p in place)), []).append(row)
    return {cell: torch.stack(rows) for cell, rows in found.items()}


LOOPS = {"maximum": lambda rows: rows.amax(0), "mean": lambda rows: rows.mean(0), "sum": lambda rows: rows.sum(0)}


@pytest.mark.parametrize("how", LOOPS)
def test_cells_sum_up_their_points(places, how):
    features = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(1))
    cells = Cells(places, (3, 4, 2))
    lattice = cells.lattice(getattr(cells, how)(features))
    assert lattice.shape == (2, 5, 3, 4, 2)
    expected = torch.zeros_like(lattice)
    for (cloud, i, j, k), rows in by_cell(places, features, (3, 4, 2)).items():
        expected[cloud, :, i, j, k] = LOOPS[how](rows)
    assert torch.allclose(lattice, expected, atol=1e-6)


def test_points_get_back_what_their_cell_holds(places):
    cells = Cells(places, (3, 4, 2))
    counts = cells.at_points(cells.sum(torch.ones(2, 40, 1)))[..., 0]
    for cloud in range(2):
        same = (places[cloud, :, None].floor() == places[cloud, None].floor()).all(-1).sum(1)
        assert torch.equal(counts[cloud], same.float())


def test_points_beyond_the_lattice_count_to_the_cell_next_to_them():
    cells = Cells(torch.tensor([[[-5.0, 0.5], [9.0, 0.5]]]), (2, 1))
    assert cells.lattice(cells.sum(torch.tensor([[[1.0], [2.0]]])))[0, 0, :, 0].tolist() == [1, 2]


def test_attention_is_a_mean_of_values_by_weights_that_add_up_to_one(places):
    torch.manual_seed(0)
    attention, features = Attention(6, 3), torch.randn(2, 40, 6)
    with torch.no_grad():
        attention.value.weight.zero_()
        attention.place.weight.zero_()
        attention.place.bias.fill_(3.0)  # every value is 3, so every mean is
        cells = Cells(places, (3, 4, 2))
        found = attention(cells, features)
    held = cells.sum(torch.ones(2, 40, 1))[:, 0] > 0
    assert torch.allclose(found[held], torch.full_like(found[held], 3.0), atol=1e-5)
    assert not found[~held].any()


def test_attention_minds_no_order_of_the_points(places):
    torch.manual_seed(0)
    attention, features = Attention(6, 3), torch.randn(2, 40, 6)
    order = torch.randperm(40)
    one, other = attention(Cells(places, (3, 4, 2)), features), attention(Cells(places[:, order], (3, 4, 2)), features[:, order])
    assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 5)])
def test_sampling_is_exact_for_linear_lattices_and_constant_beyond(shape):
    d = len(shape)
    slope = torch.arange(1.0, d + 1)
    middles = torch.cartesian_prod(*(torch.arange(count) + 0.5 for count in shape))
    lattice = (middles @ slope).reshape(1, 1, *shape)
    x = torch.rand(1, 50, d, generator=torch.Generator().manual_seed(3)) * torch.tensor(shape)
    inner = torch.minimum(x.clamp(min=0.5), torch.tensor(shape) - 0.5)
    assert torch.allclose(sampled(lattice, x)[0, :, 0], inner[0] @ slope, atol=1e-5)
