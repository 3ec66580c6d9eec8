"""The backend nerfacc, by a module that stands in for it: the same names, arguments and demands, computed by plain torch.

It shows that we call it as its documentation says, and what we make of its answers. The real one needs a GPU and has not been run here.
"""

import sys
from types import SimpleNamespace

import pytest
import torch
from ray_cases import case, derivatives

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import choice, nerfacc, reference, trial

COUNTS = [0, 1, 3, 0, 40, 95, 0, 200, 0, 2, 0]
ENOUGH = 3e-6  # of the largest number of each result and derivative, as of the other backends


def exclusive_sum(inputs, packed_info=None):
    """Of each chunk (first, count) of a flat array: what is before each of its numbers."""
    assert inputs.ndim == 1 and inputs.dtype == torch.float32 and packed_info.ndim == 2 and packed_info.dtype == torch.int64
    first, count = packed_info.unbind(1)
    assert torch.equal(first, count.cumsum(0) - count) and int(count.sum()) == len(inputs)
    return torch.cat([torch.cat([part.new_zeros(1), part]).cumsum(0)[:-1] for part in inputs.split(count.tolist())])


def accumulate_along_rays(weights, values=None, ray_indices=None, n_rays=None):
    """(n_rays, D) sums of weights (N,) times values (N, D)."""
    assert weights.ndim == 1 and ray_indices.shape == weights.shape and (values is None or values.shape[:-1] == weights.shape)
    each = weights[:, None] if values is None else weights[:, None] * values
    return torch.zeros(n_rays, each.shape[1]).index_add(0, ray_indices, each)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    module = SimpleNamespace(exclusive_sum=exclusive_sum, accumulate_along_rays=accumulate_along_rays)
    monkeypatch.setitem(sys.modules, "nerfacc", module)
    return module


@pytest.mark.parametrize("anneal", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("inv_s", [3.0, 20.0, 300.0])
def test_composite_is_the_references(inv_s, anneal, generator):
    some = case(COUNTS, generator, inv_s=inv_s)
    found, wanted = derivatives(some.to(torch.float32), nerfacc, anneal=anneal), derivatives(some, reference, anneal=anneal)
    for one, other in zip(found[:-1], wanted[:-1], strict=True):
        assert one.shape == other.shape and (one.double() - other).abs().max() < ENOUGH * other.abs().max()
    assert float(found[-1]) == pytest.approx(float(wanted[-1]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("inv_s", [1e4, 1e9])
def test_sharp_surfaces_have_finite_results_and_derivatives(inv_s, generator):
    assert all(torch.isfinite(part).all() for part in derivatives(case(COUNTS, generator, inv_s=inv_s).to(torch.float32), nerfacc))


@pytest.mark.parametrize("counts", [[], [0, 0], [1]], ids=["no rays", "no samples", "one sample"])
def test_few_samples(counts, generator):
    some = case(counts, generator).to(torch.float32)
    for one, other in zip(derivatives(some, nerfacc), derivatives(some, reference)):
        torch.testing.assert_close(one, other)


def test_nan_is_seen_on_its_ray_alone(generator):
    some = case([5, 6, 4], generator).to(torch.float32)
    some.sdf[7] = torch.nan
    for result in some.composite(nerfacc)[1:]:
        assert result[1].isnan().all() and torch.isfinite(result[[0, 2]]).all()


def test_what_cannot_be_taken_is_named(generator):
    some = case([2, 3], generator).to(torch.float32)
    some.sdf = some.sdf[:4]
    with pytest.raises(InputError, match=r"sdf must be \(5,\).*got \(4,\)"):
        some.composite(nerfacc)


def test_without_a_toolkit_another_backend_takes_over_and_stdout_stays_clean(stand_in, generator, monkeypatch, capsys):
    """Then nerfacc says so on stdout and raises at each call."""

    def disabled(*arguments):
        print("No CUDA toolkit found.")
        raise AttributeError("'NoneType' object has no attribute 'exclusive_sum'")

    monkeypatch.setattr(stand_in, "exclusive_sum", disabled)
    monkeypatch.setattr(nerfacc, "problem", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setattr(choice, "_given_up", {name: "isn't asked for here" for name in ("triton", "native")})
    choice._works.cache_clear()
    some = case([2, 3], generator).to(torch.float32)
    for one, other in zip(some.composite(ops), some.composite(reference)):
        assert torch.equal(one, other)
    choice._works.cache_clear()
    assert "NoneType" in choice._given_up["nerfacc"] and not capsys.readouterr().out
