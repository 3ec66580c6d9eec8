"""The backend tcnn, by a module that stands in for tinycudann: the same names, arguments and layout, computed by our reference.

It shows that we call it as its documentation says, and what we make of its answers. The real one needs a GPU and has not been run here.
"""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from hash_cases import GRIDS, NETWORKS, case, grid, network
from test_hash_sdf import assert_same, derivatives

from surfrecon import ops
from surfrecon.ops import reference, tcnn
from surfrecon.ops.trial import Unusable


class StandIn(torch.nn.Module):
    """tinycudann.Encoding: (N, n_input_dims) float32 in [0, 1] -> (N, n_output_dims), from one flat array of parameters."""

    extra = 0  # numbers that its table has and ours hasn't

    def __init__(self, n_input_dims, encoding_config, seed=1337, dtype=None):
        super().__init__()
        assert n_input_dims == 3 and encoding_config["otype"] == "HashGrid" and dtype is torch.float32
        base, growth, levels = (encoding_config[key] for key in ("base_resolution", "per_level_scale", "n_levels"))
        self.grid = ops.HashGrid(
            levels=levels,
            features=encoding_config["n_features_per_level"],
            base=base,
            finest=round(base * growth ** (levels - 1)),
            log2_entries=encoding_config["log2_hashmap_size"],
            smooth={"Smoothstep": True, "Linear": False}[encoding_config["interpolation"]],
        )
        assert math.isclose(self.grid.growth, growth)
        self.n_output_dims = self.grid.encoded
        self.params = torch.nn.Parameter(torch.zeros(self.grid.numbers + self.extra))

    def forward(self, x):
        assert self.params.shape == (self.grid.numbers,) and ((x >= 0) & (x <= 1)).all()
        return reference.hash_encode(self.grid, self.params.view(-1, self.grid.features), 2 * x - 1)[0]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinycudann", SimpleNamespace(Encoding=StandIn))
    tcnn._encoding.cache_clear()
    yield
    tcnn._encoding.cache_clear()


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("mask", [False, True], ids=["all levels", "mask"])
@pytest.mark.parametrize("gradient", [True, False], ids=["with gradient", "value alone"])
def test_network_is_the_references(options, mask, gradient, generator):
    some = case(network(**options), 200, generator, mask=mask)
    assert_same(*(derivatives(some.to(dtype), of, gradient=gradient) for of, dtype in ((tcnn, torch.float32), (reference, torch.float64))))


@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
def test_grid_is_the_references(options, generator):
    some = case(network(grid(**options)), 200, generator, mask=True)
    assert_same(*(derivatives(some.to(dtype), of) for of, dtype in ((tcnn, torch.float32), (reference, torch.float64))))
    single = some.to(torch.float32)
    for gradient in (False, True):
        arguments = some.network.grid, single.table, single.x
        found, wanted = (backend.hash_encode(*arguments, mask=single.mask, gradient=gradient) for backend in (tcnn, reference))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("gradient", [True, False])
def test_without_autograd_nothing_is_kept(gradient, generator):
    some = case(network(), 50, generator).to(torch.float32)
    with torch.no_grad():
        found = some.sdf(tcnn, gradient=gradient)
    assert not any(part.requires_grad for part in found if part is not None)
    torch.testing.assert_close(found, tuple(None if part is None else part.detach() for part in some.sdf(reference, gradient=gradient)))


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point(count, generator):
    some = case(network(), count, generator).to(torch.float32)
    assert [part.shape for part in some.sdf(tcnn)] == [part.shape for part in some.sdf(reference)]


def test_table_of_another_layout_is_refused(monkeypatch, generator):
    monkeypatch.setattr(StandIn, "extra", 8)
    with pytest.raises(Unusable, match=r"has 584 numbers, ours 576"):
        case(network(), 5, generator).to(torch.float32).sdf(tcnn)
