"""neus_composite and its backward, one kernel each. Must equal reference/compositing.py: neus_composite and its autograd.

Layout: as in samples.py, all contiguous. A program of one warp takes a ray and goes over its samples BLOCK at a time: sums along rays stay
in registers, nothing is added to memory, results are the same at each run. Transmittance is exp(-sum of optical depths), sums by a scan;
an interval's depth counts up to DEEPEST. Backward goes from the last block to the first; see native/compositing.cpp for its formula.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.samples import Composite, Samples, check_composite
from surfrecon.ops.trial import trial
from surfrecon.ops.triton.here import require

BLOCK, WARPS = 64, 1
DEEPEST = tl.constexpr(32.0)  # exp(-32) is 1e-14; what is in front of a deeper one would lose digits to it in the scan


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float
) -> Composite:
    check_composite(samples, directions, sdf, gradient, color, inv_s, anneal)
    require(samples.t, "t")
    fixed = [tensor.detach().contiguous() for tensor in (samples.offsets, samples.t, samples.lengths)]
    moving = [tensor.contiguous() for tensor in (directions, sdf, gradient, color, inv_s)]
    with torch.cuda.device_of(samples.t):
        trial(("neus_composite", samples.t.device), lambda: _try(samples.t.device))
        return Composite(*_Composite.apply(anneal, *fixed, *moving))


def _try(device: torch.device) -> None:
    one, row = torch.ones(1, device=device), torch.ones(1, 3, device=device)
    with torch.enable_grad():
        inputs = [tensor.clone().requires_grad_() for tensor in (row, one, row, row, one[0])]
        results = _Composite.apply(1.0, torch.arange(2, device=device), one, one, *inputs)
        torch.autograd.backward(results, [torch.ones_like(part) for part in results])


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anneal, offsets, t, lengths, directions, sdf, gradient, color, inv_s):
        rays = len(directions)
        weights, behind = torch.empty_like(t), torch.empty_like(t)
        colors, normal, depth, transmittance = t.new_empty(rays, 3), t.new_empty(rays, 3), t.new_empty(rays), t.new_empty(rays)
        inputs = offsets, t, lengths, directions, sdf, gradient, color, inv_s
        if rays:
            forward[rays,](*inputs, anneal, weights, behind, colors, depth, normal, transmittance, BLOCK=BLOCK, num_warps=WARPS)
        ctx.save_for_backward(*inputs, weights, behind, transmittance)
        ctx.anneal = anneal
        ctx.set_materialize_grads(False)
        return weights, colors, depth, normal, transmittance

    @staticmethod
    @once_differentiable
    def backward(ctx, *owed):
        *inputs, weights, behind, transmittance = ctx.saved_tensors
        _, t, _, directions, _, gradient, color, _ = inputs
        owed = [None if each is None else each.contiguous() for each in owed]
        by_directions, by_sdf, by_gradient = torch.empty_like(directions), torch.empty_like(t), torch.empty_like(gradient)
        by_color, by_inv_s = torch.empty_like(color), torch.empty_like(transmittance)
        if len(directions):
            with torch.cuda.device_of(t):
                backward[len(directions),](
                    *inputs, ctx.anneal, weights, behind, transmittance, *owed, by_directions, by_sdf, by_gradient, by_color, by_inv_s,
                    BLOCK=BLOCK, num_warps=WARPS,
                )  # fmt: skip
        return None, None, None, None, by_directions, by_sdf, by_gradient, by_color, by_inv_s.double().sum().to(t.dtype)


@triton.jit
def three(rows, place, there):
    return (
        tl.load(rows + 3 * place, mask=there, other=0.0),
        tl.load(rows + 3 * place + 1, mask=there, other=0.0),
        tl.load(rows + 3 * place + 2, mask=there, other=0.0),
    )


@triton.jit
def put_three(rows, place, x, y, z, there):
    tl.store(rows + 3 * place, x, mask=there)
    tl.store(rows + 3 * place + 1, y, mask=there)
    tl.store(rows + 3 * place + 2, z, mask=there)


@triton.jit
def half_drop(slope, length, anneal):
    """How far the distance falls along half an interval; NaN stays."""
    straight = tl.where(slope > 0.0, 0.0, -slope)
    early = tl.where(slope > 1.0, 0.0, 0.5 - 0.5 * slope)
    return (anneal * straight + (1.0 - anneal) * early) * length * 0.5


@triton.jit
def opacity(f, half, s):
    """Of intervals at whose ends the distance is f + half and f - half; and their optical depth, up to DEEPEST."""
    a, b = s * (f + half), s * (f - half)
    ea, eb = tl.exp(-tl.abs(a)), tl.exp(-tl.abs(b))
    fall = tl.where(b < 0.0, tl.where(a < 0.0, -2.0 * s * half, b), 0.0)  # min(b, 0) - min(a, 0)
    whole = tl.exp(fall)
    alpha = tl.where(b < 0.0, 1.0 - tl.where(a < 0.0, whole, whole * ea), eb - ea) / (1.0 + eb)
    tau = tl.log((1.0 + eb) / (1.0 + ea)) - fall
    return tl.where(alpha < 0.0, 0.0, alpha), tl.where(tau > DEEPEST, DEEPEST, tl.where(tau < 0.0, 0.0, tau))


@triton.jit(do_not_specialize=["anneal"])
def forward(
    offsets, t, lengths, directions, sdf, gradient, color, inv_s, anneal, weights, behind, colors, depth, normal, transmittance,
    BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    s = tl.load(inv_s)
    dx, dy, dz = tl.load(directions + 3 * ray), tl.load(directions + 3 * ray + 1), tl.load(directions + 3 * ray + 2)
    deep = 0.0
    red, green, blue, far, nx, ny, nz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(first, last, BLOCK):
        place = start + tl.arange(0, BLOCK)
        there = place < last
        gx, gy, gz = three(gradient, place, there)
        half = half_drop(gx * dx + gy * dy + gz * dz, tl.load(lengths + place, mask=there, other=0.0), anneal)
        f = tl.load(sdf + place, mask=there, other=0.0)
        alpha, tau = opacity(f, half, s)
        alpha, tau = tl.where(there, alpha, 0.0), tl.where(there, tau, 0.0)
        through = deep + tl.cumsum(tau, 0)
        weight = tl.exp(tau - through) * alpha
        tl.store(weights + place, weight, mask=there)
        tl.store(behind + place, tl.exp(-through), mask=there)
        deep += tl.sum(tau, 0)
        cx, cy, cz = three(color, place, there)
        red += tl.sum(weight * cx, 0)
        green += tl.sum(weight * cy, 0)
        blue += tl.sum(weight * cz, 0)
        nx += tl.sum(weight * gx, 0)
        ny += tl.sum(weight * gy, 0)
        nz += tl.sum(weight * gz, 0)
        far += tl.sum(weight * tl.load(t + place, mask=there, other=0.0), 0)
    put_three(colors, ray, red, green, blue, True)
    put_three(normal, ray, nx, ny, nz, True)
    tl.store(depth + ray, far)
    tl.store(transmittance + ray, tl.exp(-deep))


@triton.jit(do_not_specialize=["anneal"])
def backward(
    offsets, t, lengths, directions, sdf, gradient, color, inv_s, anneal, weights, behind, transmittance,
    to_weights, to_colors, to_depth, to_normal, to_transmittance, by_directions, by_sdf, by_gradient, by_color, by_inv_s,
    BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    s = tl.load(inv_s)
    dx, dy, dz = tl.load(directions + 3 * ray), tl.load(directions + 3 * ray + 1), tl.load(directions + 3 * ray + 2)
    red, green, blue, far, nx, ny, nz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if to_colors is not None:
        red, green, blue = tl.load(to_colors + 3 * ray), tl.load(to_colors + 3 * ray + 1), tl.load(to_colors + 3 * ray + 2)
    if to_depth is not None:
        far = tl.load(to_depth + ray)
    if to_normal is not None:
        nx, ny, nz = tl.load(to_normal + 3 * ray), tl.load(to_normal + 3 * ray + 1), tl.load(to_normal + 3 * ray + 2)
    owed_behind = 0.0
    if to_transmittance is not None:
        owed_behind += tl.load(to_transmittance + ray) * tl.load(transmittance + ray)
    turn_x, turn_y, turn_z, sharpness = 0.0, 0.0, 0.0, 0.0
    for back in range(0, tl.cdiv(last - first, BLOCK)):
        start = first + (tl.cdiv(last - first, BLOCK) - 1 - back) * BLOCK
        place = start + tl.arange(0, BLOCK)
        there = place < last
        gx, gy, gz = three(gradient, place, there)
        cx, cy, cz = three(color, place, there)
        weight = tl.load(weights + place, mask=there, other=0.0)
        owed = red * cx + green * cy + blue * cz + nx * gx + ny * gy + nz * gz + far * tl.load(t + place, mask=there, other=0.0)
        if to_weights is not None:
            owed += tl.load(to_weights + place, mask=there, other=0.0)
        share = owed * weight
        by_tau = owed * tl.load(behind + place, mask=there, other=0.0) - (owed_behind + tl.cumsum(share, 0, reverse=True) - share)
        owed_behind += tl.sum(share, 0)
        slope = gx * dx + gy * dy + gz * dz
        length = tl.load(lengths + place, mask=there, other=0.0)
        half = half_drop(slope, length, anneal)
        f = tl.load(sdf + place, mask=there, other=0.0)
        front, rear = tl.sigmoid(-s * (f + half)), tl.sigmoid(-s * (f - half))
        tl.store(by_sdf + place, by_tau * s * (front - rear), mask=there)
        sharpness += tl.sum(tl.where(there, by_tau * (front * (f + half) - rear * (f - half)), 0.0), 0)
        turned = tl.where(slope < 0.0, -anneal, 0.0) + tl.where(slope < 1.0, -0.5 * (1.0 - anneal), 0.0)
        by_slope = by_tau * s * (front + rear) * (length * 0.5) * turned
        put_three(by_gradient, place, by_slope * dx + weight * nx, by_slope * dy + weight * ny, by_slope * dz + weight * nz, there)
        put_three(by_color, place, weight * red, weight * green, weight * blue, there)
        turn_x += tl.sum(by_slope * gx, 0)
        turn_y += tl.sum(by_slope * gy, 0)
        turn_z += tl.sum(by_slope * gz, 0)
    put_three(by_directions, ray, turn_x, turn_y, turn_z, True)
    tl.store(by_inv_s + ray, sharpness)
