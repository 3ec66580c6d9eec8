"""The compute contract: each op, who can compute it, and the choice between them. Ops are described in reference/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops import reference
from surfrecon.ops.bricks import BRICK, BRICK_NODES, Level
from surfrecon.ops.choice import BACKENDS, OPS, backend_of, candidates, choices, computed, use
from surfrecon.ops.hash_grid import HashGrid, SdfNetwork
from surfrecon.ops.linear_map import LinearMap
from surfrecon.ops.reference import STENCIL, SparseRows, box_sums, bspline_evaluate, bspline_weights, neus_alpha
from surfrecon.ops.samples import Composite, Samples, Surface, box_interval
from surfrecon.ops.sphere_start import sphere_start
from surfrecon.ops.sweep import Room, Source

__all__ = [
    "BACKENDS",
    "BRICK",
    "BRICK_NODES",
    "OPS",
    "STENCIL",
    "Composite",
    "HashGrid",
    "Level",
    "LinearMap",
    "Room",
    "Samples",
    "SdfNetwork",
    "Source",
    "SparseRows",
    "Surface",
    "adam_step",
    "box_interval",
    "box_sums",
    "bspline_evaluate",
    "bspline_weights",
    "candidates",
    "choices",
    "hash_encode",
    "hash_sdf",
    "hash_sdf_by_differences",
    "known_medians",
    "laplacian",
    "laplacian_rows",
    "march",
    "neus_alpha",
    "neus_composite",
    "odd_loops",
    "pull_rows",
    "pulling",
    "sphere_start",
    "spline_field",
    "spline_gather",
    "spline_splat",
    "sweep_scores",
    "trilinear",
    "use",
]

Result = TypeVar("Result")


def spline_field(levels: Sequence[Level], x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (unit frame) of a spline on nested levels, coarsest first, at (N, 3) points."""
    backend = _without_derivatives("spline_field", x, *(level.coefficients for level in levels))
    return backend.spline_field(levels, x, gradient=gradient)


def pull_rows(level: Level, free: Tensor, points: Tensor, reach: float) -> LinearMap:
    """Values of a level at (N, 3) points, then its 3 N slopes times reach, from the free coefficients."""
    return backend_of("pull_rows", level.coefficients, points).pull_rows(level, free, points, reach)


def laplacian_rows(level: Level, free: Tensor) -> LinearMap:
    """The Laplacian at the nodes of a level's active bricks, from the free coefficients."""
    return backend_of("laplacian_rows", level.coefficients).laplacian_rows(level, free)


def laplacian(level: Level) -> Tensor:
    """The Laplacian of a level's own coefficients at the nodes of its active bricks."""
    return backend_of("laplacian", level.coefficients).laplacian(level)


def trilinear(values: Tensor, x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (unit frame) of a dense (M, M, M) lattice, linear between its nodes, at (N, 3) points."""
    return _with_constants("trilinear", (x,), values).trilinear(values, x, gradient=gradient)


def pulling(values: Tensor, queries: Tensor, targets: Tensor, weights: Tensor, *, smooth: float, surface: float, align: float) -> Tensor:
    """The objective of GridPull as published, on a dense (M, M, M) lattice and (N, 3) queries and targets."""
    backend = backend_of("pulling", values, queries, targets, weights)
    return backend.pulling(values, queries, targets, weights, smooth=smooth, surface=surface, align=align)


def spline_gather(lattice: Tensor, u: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (lattice units) of the spline on a dense lattice at (N, 3) lattice coordinates."""
    return _without_derivatives("spline_gather", lattice, u).spline_gather(lattice, u, gradient=gradient)


def spline_splat(u: Tensor, amounts: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The dense lattice that received scalars (N,) or vectors (N, 3) at (N, 3) lattice coordinates."""
    return _without_derivatives("spline_splat", u, amounts).spline_splat(u, amounts, shape)


def hash_encode(
    grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None = None, gradient: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Features of (N, 3) points on a hash grid, and their derivatives with respect to the points."""
    call = lambda backend: backend.hash_encode(grid, table, x, mask=mask, gradient=gradient)
    return _on_hash_grid("hash_encode", x, mask, [table], call)


def hash_sdf(
    network: SdfNetwork,
    table: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    x: Tensor,
    *,
    mask: Tensor | None = None,
    gradient: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Signed distance, its gradient and the other outputs of a network on a hash grid, at (N, 3) points."""
    call = lambda backend: backend.hash_sdf(network, table, weights, biases, x, mask=mask, gradient=gradient)
    return _on_hash_grid("hash_sdf", x, mask, [table, *weights, *biases], call)


def hash_sdf_by_differences(
    network: SdfNetwork,
    table: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    x: Tensor,
    *,
    step: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As hash_sdf, with the gradient by central differences, which spreads what it asks for over neighbouring cells.

    Args:
        step: to either side, unit frame, > 0; a cell of the finest level in use (`grid.cells`). It ends at the border of the box.
    Raises:
        InputError: the step is not > 0, or as of hash_sdf.
    Gradient: as of hash_sdf, by its values alone.
    Source: Li et al., Neuralangelo, 2023, eq. 4.
    """
    if not step > 0:
        raise InputError(f"step must be > 0 (unit frame), got {step}; take a cell of the grid")
    inside = x.clamp(-1, 1)
    offsets = step * torch.eye(3, dtype=x.dtype, device=x.device)
    ahead, behind = ((inside[:, None] + side * offsets).clamp(-1, 1) for side in (1, -1))
    probes = torch.cat([inside, ahead.reshape(-1, 3), behind.reshape(-1, 3)])
    sdf, _, features = hash_sdf(network, table, weights, biases, probes, mask=mask, gradient=False)
    at_x, at_ahead, at_behind = sdf.split([len(x), 3 * len(x), 3 * len(x)])
    lengths = (ahead - behind).diagonal(dim1=1, dim2=2)
    return at_x, (at_ahead - at_behind).view(-1, 3) / lengths, features[: len(x)]


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int | Tensor, rate: float | Tensor) -> None:
    """Move a parameter and its two moments by one step of Adam, in place."""
    tensors = [parameter, gradient, mean, square]
    if parameter.device.type == "cpu":
        step, rate = int(step), float(rate)
    call = lambda backend: backend.adam_step(*tensors, step=step, rate=rate)
    if all(tensor.is_contiguous() for tensor in tensors):
        computed("adam_step", tensors, call)
    else:
        call(reference)


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float = 1.0
) -> Composite:
    """What R rays see of samples with signed distance (S,), its gradient (S, 3) and colour (S, 3), by the opacity of NeuS."""
    call = lambda backend: backend.neus_composite(samples, directions, sdf, gradient, color, inv_s, anneal=anneal)
    if torch.is_grad_enabled() and (samples.t.requires_grad or samples.lengths.requires_grad):
        return call(reference)
    return computed("neus_composite", [samples.t, samples.lengths, directions, sdf, gradient, color, inv_s], call)


def march(
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    step: float | Tensor,
    jitter: Tensor,
    most: int,
    surface: Surface | None = None,
) -> Samples:
    """Samples of rays at regular steps through the box, those in occupied cells (M, M, M); of a surface only what rays see of it."""
    call = lambda backend: backend.march(occupied, origins, directions, step=step, jitter=jitter, most=most, surface=surface)
    return computed("march", [origins, directions, jitter], call)


def known_medians(values: Tensor, *, least: int) -> Tensor:
    """Medians of (H, W) over windows of 5 x 5 pixels, of the numbers above 0 in them; 0 where these are fewer than `least`."""
    return backend_of("known_medians", values).known_medians(values, least=least)


def odd_loops(
    first: Tensor, neighbour: Tensor, edge: Tensor, length: Tensor, words: Tensor, roots: Tensor, *, longest: float, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest loop over each of some vertices (R,) of a graph along whose edges the exclusive or of their words (E,) isn't 0."""
    return backend_of("odd_loops", length).odd_loops(first, neighbour, edge, length, words, roots, longest=longest, near=near)


def sweep_scores(
    grey: Tensor,
    mask: Tensor,
    sources: Sequence[Source],
    guide: Tensor,
    offsets: Tensor,
    *,
    window: int,
    two: bool,
    contrast: float,
    room: Room | None = None,
) -> Tensor:
    """How well windows (H, W) of a picture look like those of sources, for each hypothesis guide + offset, guide (H, W), offsets (P,)."""
    backend = backend_of("sweep_scores", grey, mask, guide, offsets)
    return backend.sweep_scores(grey, mask, sources, guide, offsets, window=window, two=two, contrast=contrast, room=room)


def _on_hash_grid(op: str, x: Tensor, mask: Tensor | None, parameters: list[Tensor], call: Callable[[ModuleType], Result]) -> Result:
    """By a backend whose kernel has a backward to the parameters alone."""
    constants = [x] if mask is None else [x, mask]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in constants):
        return call(reference)
    return computed(op, [*constants, *parameters], call)


def _with_constants(op: str, constants: Sequence[Tensor], *others: Tensor) -> ModuleType:
    """The backend of an op whose kernel has a backward, but not to these."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in constants):
        return reference
    return backend_of(op, *constants, *others)


def _without_derivatives(op: str, *tensors: Tensor) -> ModuleType:
    """The backend of an op whose kernel has no backward."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return reference
    return backend_of(op, *tensors)
