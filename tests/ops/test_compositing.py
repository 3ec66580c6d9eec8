"""What rays see of samples: closed forms, a slow loop over rays, autograd of the reference, the kernel against it."""

import math

import pytest
import torch
from ray_cases import Case, case, derivatives
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import Samples, reference

COUNTS = [0, 1, 3, 0, 40, 95, 96, 97, 0, 200, 0, 2, 0]  # around the kernel's tiles of 96, with empty rays at both ends
ANNEAL = pytest.mark.parametrize("anneal", [0.0, 0.3, 1.0])
RESULTS = ("weights", "color", "depth", "normal", "transmittance")
ENOUGH = 3e-6  # of the largest number of each result and derivative: sums along rays of numbers of either sign


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def straight(sdf: Tensor, lengths: Tensor, t: Tensor, inv_s: float, slope: float = -1.0) -> Case:
    """One ray along z with a constant slope."""
    gradient = torch.tensor([0.0, 0, slope], dtype=sdf.dtype).expand(len(sdf), 3)
    offsets = torch.tensor([0, len(sdf)])
    direction = torch.tensor([[0.0, 0, 1]], dtype=sdf.dtype)
    return Case(t, lengths, offsets, direction, sdf, gradient, torch.ones_like(gradient), torch.tensor(inv_s, dtype=sdf.dtype))


def plane(samples: int, inv_s: float, dtype: torch.dtype, *, depth: float = 0.6) -> Case:
    """Intervals that fill 0 to 1 on a ray which meets a plane at a right angle."""
    t = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    return straight(depth - t, torch.full_like(t, 1 / samples), t, inv_s).to(dtype)


def worst(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference, as a part of the largest number of its tensor."""
    parts = zip(found, wanted, strict=True)
    return max(float((one.double() - other).abs().max() / other.abs().max().clamp(min=1e-30)) for one, other in parts if other.numel())


@pytest.mark.parametrize("samples", [1, 7, 300])
@pytest.mark.parametrize("inv_s", [3.0, 30.0, 1000.0])
def test_plane_gathers_the_quotient_of_the_logistic_function_at_both_ends(samples, inv_s, backend, dtype):
    found = plane(samples, inv_s, dtype).composite(backend if dtype == torch.float32 else reference)
    left, enough = logistic(inv_s * (0.6 - 1)) / logistic(inv_s * 0.6), {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    assert float(found.transmittance) == pytest.approx(left, abs=enough)
    for gathered in (found.weights.double().sum(), found.opacity, found.color[0, 0], -found.normal[0, 2]):
        assert float(gathered) == pytest.approx(1 - left, abs=enough)
    assert (found.weights >= 0).all()


@pytest.mark.parametrize("inv_s", [300.0, 1e4, 1e7])
def test_sharp_surface_is_seen_within_half_a_step(inv_s, backend):
    found = plane(200, inv_s, torch.float32, depth=0.6112).composite(backend)
    assert abs(float(found.depth) - 0.6112) < 0.5 / 200 + 3 / inv_s and float(found.opacity) > 1 - 1e-6


def test_sharp_sphere_is_seen_where_it_is(backend, generator):
    """Rays in many directions from outside; values and gradients of the exact distance."""
    rays, samples, radius = 50, 400, 0.5
    origins = 2 * torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    aims = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1) * 0.45
    directions = torch.nn.functional.normalize(aims - origins, dim=1)
    t = ((torch.arange(samples) + 0.5) * (3.0 / samples)).repeat(rays)
    x = origins.repeat_interleave(samples, 0) + t[:, None] * directions.repeat_interleave(samples, 0)
    distance = x.norm(dim=1)
    packed = Samples(t, torch.full_like(t, 3.0 / samples), torch.arange(rays + 1) * samples)
    gradient = x / distance[:, None]
    found = backend.neus_composite(packed, directions, distance - radius, gradient, gradient, torch.tensor(3000.0))
    along = -(origins * directions).sum(1)
    true = along - (along**2 - 4 + radius**2).sqrt()
    assert (found.depth - true).abs().max() < 3.0 / samples and (found.opacity > 0.999).all()
    normal = (origins + true[:, None] * directions) / radius
    assert (found.normal - normal).norm(dim=1).max() < 0.05 and torch.equal(found.normal, found.color)


@pytest.mark.parametrize("count", [1, 2, 50, 500])
def test_equal_opacities_gather_a_geometric_series(count, backend):
    """Deep inside, 1 - alpha is exp(-s drop) of each interval, whatever the value."""
    alpha = 0.02
    drop = -math.log(1 - alpha) / 10.0
    sdf, lengths = torch.full((count,), -3.0), torch.full((count,), drop)
    found = straight(sdf, lengths, torch.arange(count) * drop, 10.0).composite(backend)
    powers = (1 - alpha) ** torch.arange(count, dtype=torch.float64)
    torch.testing.assert_close(found.weights.double(), alpha * powers, rtol=0, atol=1e-6)
    assert float(found.transmittance) == pytest.approx((1 - alpha) ** count, abs=1e-5)
    assert float(found.opacity) == pytest.approx(1 - (1 - alpha) ** count, abs=1e-5)


def test_alpha_is_the_published_quotient(dtype, generator):
    some = case([60], generator).to(dtype)
    slopes = (some.gradient * some.directions).sum(1)
    found = reference.neus_alpha(some.sdf, slopes, some.lengths, some.inv_s)
    for value, slope, length, alpha in zip(some.sdf.double(), slopes.double(), some.lengths.double(), found):
        drop = min(float(slope), 0.0) * float(length)
        before, after = (logistic(20.0 * (float(value) + side * drop / 2)) for side in (-1, 1))
        assert float(alpha) == pytest.approx(max((before - after) / before, 0.0), abs={torch.float32: 1e-5, torch.float64: 1e-13}[dtype])


@ANNEAL
def test_reference_is_a_loop_over_rays(anneal, generator):
    some = case([0, 1, 9, 0, 4], generator)
    found = some.composite(reference, anneal=anneal)
    s = float(some.inv_s)
    for ray in range(5):
        left, color, normal, depth = 1.0, torch.zeros(3).double(), torch.zeros(3).double(), 0.0
        for i in range(int(some.offsets[ray]), int(some.offsets[ray + 1])):
            slope = float(some.gradient[i] @ some.directions[ray])
            drop = -(max(0.5 - 0.5 * slope, 0) * (1 - anneal) + max(-slope, 0) * anneal) * float(some.lengths[i])
            before, after = (logistic(s * (float(some.sdf[i]) + side * drop / 2)) for side in (-1, 1))
            alpha = max((before - after) / before, 0.0)
            assert float(found.weights[i]) == pytest.approx(left * alpha, abs=1e-14)
            color, normal = color + left * alpha * some.color[i], normal + left * alpha * some.gradient[i]
            depth += left * alpha * float(some.t[i])
            left *= 1 - alpha
        for result, wanted in zip(found[1:], (color, depth, normal, left)):
            torch.testing.assert_close(result[ray], torch.as_tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-13)


@ANNEAL
@pytest.mark.parametrize("place", range(5), ids=RESULTS)
def test_reference_passes_gradcheck(place, anneal, generator):
    some = case([0, 1, 6, 0, 3], generator, inv_s=5.0)
    inputs = [tensor.clone().requires_grad_() for tensor in some.inputs()]
    assert torch.autograd.gradcheck(lambda *given: some.composite(reference, *given, anneal=anneal)[place], inputs)


def test_reference_passes_gradcheck_in_places_and_lengths(generator):
    some = case([0, 4, 2], generator, inv_s=5.0)
    inputs = some.t.clone().requires_grad_(), some.lengths.clone().requires_grad_()
    gathered = lambda t, lengths: tuple(ops.neus_composite(Samples(t, lengths, some.offsets), *some.inputs()))
    assert torch.autograd.gradcheck(gathered, inputs)


@ANNEAL
@pytest.mark.parametrize("inv_s", [3.0, 20.0, 300.0])
def test_kernel_matches_the_reference(inv_s, anneal, native, generator):
    some = case(COUNTS * 12, generator, inv_s=inv_s)
    wanted = derivatives(some, reference, anneal=anneal)
    found = derivatives(some.to(torch.float32), native, anneal=anneal)
    sharpness = found.pop(), wanted.pop()  # the sum of all, most of which cancels
    assert worst(found, wanted) < ENOUGH
    assert float(sharpness[0]) == pytest.approx(float(sharpness[1]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("inv_s", [1e4, 1e6, 1e9])
def test_sharp_surfaces_have_finite_results_and_derivatives(inv_s, native, generator):
    some = case(COUNTS, generator, inv_s=inv_s).to(torch.float32)
    for of in (native, reference):
        assert all(torch.isfinite(part).all() for part in derivatives(some, of))
    found, wanted = (some.to(kind).composite(of) for of, kind in ((native, torch.float32), (reference, torch.float64)))
    # A number of float32 is off by up to 6e-8, so that opacities are by 6e-8 times sharpness where the surface is.
    assert worst(list(found), list(wanted)) < min(2e-7 * inv_s, 1.0)


@pytest.mark.parametrize("given", [(0,), (1,), (2,), (3,), (4,), (1, 4), (0, 2, 3)])
def test_kernel_takes_derivatives_of_some_results(given, native, generator):
    some = case(COUNTS, generator)
    found, wanted = derivatives(some.to(torch.float32), native, given=given), derivatives(some, reference, given=given)
    assert worst(found[:-1], wanted[:-1]) < ENOUGH


@pytest.mark.parametrize("place", range(5))
def test_kernel_takes_derivatives_by_one_input_alone(place, native, generator):
    some = case(COUNTS, generator).to(torch.float32)
    wanted = derivatives(some, native)[5 + place]
    inputs = some.inputs()
    inputs[place] = inputs[place].clone().requires_grad_()
    loss = 0
    for at, result in enumerate(some.composite(native, *inputs)):
        loss = loss + (result.reshape(-1) * torch.sin(torch.arange(result.numel(), dtype=torch.float64) + at).float()).sum()
    assert torch.equal(torch.autograd.grad(loss, inputs[place])[0], wanted)


def test_kernel_without_derivatives_has_the_same_bytes(native, generator):
    some = case(COUNTS, generator).to(torch.float32)
    for one, other in zip(some.composite(native), derivatives(some, native)):
        assert torch.equal(one, other) and not one.requires_grad


@pytest.mark.parametrize("counts", [[], [0], [0, 0, 0]], ids=["no rays", "one ray", "rays"])
def test_rays_without_samples_see_what_is_behind(counts, backend, generator):
    found, *rest = derivatives(case(counts, generator).to(torch.float32), backend)
    assert not len(found) and all(not part.any() for part in (*rest[:3], *rest[4:]))
    assert torch.equal(rest[3], torch.ones(len(counts)))


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    some = case(COUNTS * 40, generator).to(torch.float32)
    one = on_threads(1, lambda: derivatives(some, native))
    for count in (2, 3, 30):
        assert all(torch.equal(a, b) for a, b in zip(one, on_threads(count, lambda: derivatives(some, native))))


def test_a_ray_does_not_depend_on_those_around_it(native, generator):
    some = case([150], generator).to(torch.float32)
    wanted = some.composite(native)
    for before, behind in ((1, 0), (95, 7), (0, 300)):
        others = case([before, 150, behind], generator).to(torch.float32)
        place = slice(before, before + 150)
        for name in ("t", "lengths", "sdf", "gradient", "color"):
            getattr(others, name)[place] = getattr(some, name)
        others.directions[1] = some.directions[0]
        found = others.composite(native)
        assert torch.equal(found.weights[place], wanted.weights)
        assert all(torch.equal(one[1], other[0]) for one, other in zip(found[1:], wanted[1:]))


def test_nan_is_seen_on_its_ray_alone(backend, generator):
    some = case([5, 6, 4], generator).to(torch.float32)
    some.sdf[7] = torch.nan
    found = some.composite(backend)
    for result in found[1:]:
        assert result[1].isnan().all() and torch.isfinite(result[[0, 2]]).all()


def test_memory_layout_does_not_matter(native, generator):
    some = case(COUNTS, generator).to(torch.float32)
    wanted = derivatives(some, native)
    doubled = lambda tensor: torch.stack([tensor, tensor], dim=-1)[..., 0] if tensor.ndim else tensor
    scattered = Case(*map(doubled, (some.t, some.lengths, some.offsets, *some.inputs())))
    assert not any(tensor.is_contiguous() for tensor in (scattered.t, scattered.offsets, scattered.gradient, scattered.color))
    assert all(torch.equal(one, other) for one, other in zip(derivatives(scattered, native), wanted))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"directions": torch.zeros(2, 3)}, r"directions must be \(3, 3\).*got \(2, 3\)"),
        ({"sdf": torch.zeros(8)}, r"sdf must be \(9,\).*got \(8,\)"),
        ({"gradient": torch.zeros(9, 2)}, r"gradient must be \(9, 3\).*got \(9, 2\)"),
        ({"color": torch.zeros(9, 3, dtype=torch.float64)}, "color must be .*float32.*got.*float64"),
        ({"inv_s": torch.ones(1)}, r"inv_s must be \(\).*got \(1,\)"),
        ({"lengths": torch.zeros(8)}, r"lengths must be \(9,\)"),
        ({"t": torch.zeros(9, dtype=torch.int64)}, "t must be .*floating dtype, got .*int64"),
        ({"offsets": torch.tensor([0.0, 2, 5, 9])}, "offsets must be .*int64.*got.*float32"),
    ],
)
def test_what_cannot_be_taken_is_named(changed, said, backend, generator):
    some = case([2, 3, 4], generator).to(torch.float32)
    for name, value in changed.items():
        setattr(some, name, value)
    with pytest.raises(InputError, match=said):
        some.composite(backend)


def test_anneal_beyond_its_range_is_an_error(backend, generator):
    with pytest.raises(InputError, match=r"anneal must be from 0 to 1, got 1\.5"):
        case([2], generator).to(torch.float32).composite(backend, anneal=1.5)


@pytest.mark.parametrize("offsets", [[0, 5, 3, 9], [1, 2, 5, 9], [0, 2, 5, 8], [0, 2, 5, 10]])
def test_kernel_refuses_offsets_that_fall_or_end_elsewhere(offsets, native, generator):
    some = case([2, 3, 4], generator).to(torch.float32)
    some.offsets = torch.tensor(offsets)
    with pytest.raises(InputError, match="offsets must go from 0 to 9"):
        some.composite(native)


def test_kernel_leaves_double_precision_to_the_reference(native, generator):
    some = case([2, 3], generator)
    with pytest.raises(InputError, match=r"t must be .*float32"):
        some.composite(native)
    assert all(torch.equal(one, other) for one, other in zip(some.composite(ops), some.composite(reference)))
