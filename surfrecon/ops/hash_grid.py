"""HashGrid and SdfNetwork: the layout of a signed distance function on a multiresolution hash grid, that its kernels share.

Letters: N points, L levels, F features of a level, E entries (rows of the table), D inputs of the network, H its width, C its outputs.
Frame: the unit box [-1, 1]^3. Points beyond it are moved to its border before anything else, along each axis on its own.

Level l has scale s = base b^l - 1, b = (finest / base)^(1 / (L - 1)), computed in double and rounded once to float32, and V = ceil(s) + 1
vertices along each axis. A point stands at p = s (x + 1) / 2 + 1/2 on it, in vertices, between floor(p) and floor(p) + 1 along each axis,
so that vertex v stands at x = (2 v - 1) / s - 1. The upper one weighs t = p - floor(p), or, where `smooth`, 3 t^2 - 2 t^3.

The table is (E, F), level after level. A level is dense if V^3 <= 2^log2_entries: it has V^3 entries rounded up to a multiple of 8, and
vertex (x, y, z) has entry (x + V y + V^2 z) mod entries; within half a cell of the upper border a point may touch vertex V, one beyond the
last, which shares the entry of another. Other levels have 2^log2_entries entries, and a vertex has entry
(x ^ 2654435761 y ^ 805459861 z) mod entries, products in uint32. All this is as in tinycudann's HashGrid (linear or smoothstep weights,
coherent prime hash), whose parameters are a table, flat, and whose input is (x + 1) / 2.

The network takes the L F features of a point, level after level, then, where `xyz`, the point itself (moved into the box, unit frame):
D = L F + 3. Layer k computes W_k h + b_k; the activation stands between layers. The signed distance is output 0 minus `radius`; the other
outputs are features for whoever wants them. Weights are (H, D), (H, H) for each further hidden layer, (C, H); biases (H,), ..., (C,), or
there are none.

Source: Müller, Evans, Schied and Keller, "Instant neural graphics primitives with a multiresolution hash encoding", 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from surfrecon.errors import InputError

PRIMES = (2654435761, 805459861)  # of y and z in the hash; that of x is 1
ALIGNMENT = 8  # a level's entries are a multiple of it
MOST_NUMBERS = 2**31 - 1  # of a table: int32 counts them
MOST_ENCODED = 128  # L F
ACTIVATIONS = ("softplus", "relu", "silu")
SOFTPLUS_BETA = 100.0  # softplus is ln(1 + exp(beta a)) / beta
START_SPREAD = 1e-4  # of a table's numbers at the start, as its authors have it


@dataclass(frozen=True)
class HashGrid:
    """The levels of a hash grid; see the head of this file for what they mean.

    Attributes:
        levels: L, 1 to 32.
        features: F, of each level: 1, 2, 4 or 8.
        base: vertices along an axis of the coarsest level, >= 2.
        finest: those of the finest, base to 65536; a single level is the coarsest.
        log2_entries: log2 of the most entries that a level has, 3 to 24.
        smooth: whether weights are smoothstep: the gradient is continuous then, and zero of each level at its vertices.
    Raises:
        InputError: a number is outside its range, or the table is too large.
    """

    levels: int = 16
    features: int = 2
    base: int = 16
    finest: int = 2048
    log2_entries: int = 19
    smooth: bool = False

    def __post_init__(self):
        _within("levels", self.levels, range(1, 33))
        _among("features", self.features, (1, 2, 4, 8))
        _within("base", self.base, range(2, 65537))
        _within("finest", self.finest, range(self.base, 65537))
        _within("log2_entries", self.log2_entries, range(3, 25))
        if self.encoded > MOST_ENCODED:
            raise InputError(f"levels times features must be at most {MOST_ENCODED}, got {self.encoded}; take fewer of either")
        if self.numbers > MOST_NUMBERS:
            raise InputError(f"a table has at most {MOST_NUMBERS:,} numbers, this has {self.numbers:,}; take a smaller log2_entries")

    @property
    def encoded(self) -> int:
        """L F: features of a point."""
        return self.levels * self.features

    @property
    def growth(self) -> float:
        """b: of the vertices along an axis, from level to level."""
        return math.exp(math.log(self.finest / self.base) / (self.levels - 1)) if self.levels > 1 else 1.0

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """s of each level, all exact in float32."""
        return tuple(float(np.float32(self.base * self.growth**level - 1)) for level in range(self.levels))

    @cached_property
    def cells(self) -> tuple[float, ...]:
        """Side of a cell of each level, unit frame."""
        return tuple(2 / scale for scale in self.scales)

    @cached_property
    def vertices(self) -> tuple[int, ...]:
        """V of each level."""
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether a level has an entry for each of its vertices."""
        return tuple(count**3 <= 2**self.log2_entries for count in self.vertices)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each level."""
        return tuple(
            -(-(count**3) // ALIGNMENT) * ALIGNMENT if dense else 2**self.log2_entries for count, dense in zip(self.vertices, self.dense)
        )

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """(L + 1) first entry of each level, then E."""
        return tuple(sum(self.sizes[:level]) for level in range(self.levels + 1))

    @property
    def entries(self) -> int:
        """E: rows of the table."""
        return self.offsets[-1]

    @property
    def numbers(self) -> int:
        """E F: numbers in the table."""
        return self.entries * self.features

    def rows(self, level: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Row of the table of vertices 0 ... V of a level: int64, of the shape that x, y and z broadcast to."""
        if self.dense[level]:
            count = self.vertices[level]
            row = (x + count * y + count**2 * z) % self.sizes[level]
        else:
            row = (x ^ (y * PRIMES[0]) ^ (z * PRIMES[1])) & (self.sizes[level] - 1)  # a power of 2: of products only low bits count
        return row + self.offsets[level]

    def start(self, generator: torch.Generator, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """(E, F) a table to start from: uniform noise around zero, on the generator's device."""
        noise = torch.rand(self.entries, self.features, generator=generator, dtype=dtype, device=generator.device)
        return noise.mul_(2 * START_SPREAD).sub_(START_SPREAD)

    def check(self, table: Tensor, x: Tensor, mask: Tensor | None) -> None:
        """Raise InputError unless x is (N, 3), the table (E, F) and the mask (L,) or None, of one floating dtype on one device."""
        if x.ndim != 2 or x.shape[1] != 3 or not x.is_floating_point():
            raise InputError(f"x must be (any, 3) numbers of a floating dtype, got {tuple(x.shape)} {x.dtype}")
        _fits("table", table, (self.entries, self.features), x)
        if mask is not None:
            _fits("mask", mask, (self.levels,), x)


@dataclass(frozen=True)
class SdfNetwork:
    """A small network on a hash grid; see the head of this file for what it computes.

    Attributes:
        grid: whose features it takes.
        width: H, 16, 32, 64 or 128.
        hidden: hidden layers, 1 to 3.
        outputs: C, 1 to 64.
        activation: "softplus" (of beta 100), "relu" (its slope at 0 is 0) or "silu".
        biases: whether layers have biases.
        xyz: whether the point itself is an input, after its features.
        radius: of the sphere that sphere_start starts from, unit frame: a constant that is always taken off output 0, so that networks
            without biases have a sphere too.
    Raises:
        InputError: a value is outside its range.
    """

    grid: HashGrid
    width: int = 64
    hidden: int = 1
    outputs: int = 1
    activation: str = "softplus"
    biases: bool = True
    xyz: bool = True
    radius: float = 0.5

    def __post_init__(self):
        _among("width", self.width, (16, 32, 64, 128))
        _within("hidden", self.hidden, range(1, 4))
        _within("outputs", self.outputs, range(1, 65))
        _among("activation", self.activation, ACTIVATIONS)
        if not 0 <= self.radius < math.inf:
            raise InputError(f"radius must be a finite length >= 0 (unit frame), got {self.radius}")

    @property
    def inputs(self) -> int:
        """D: inputs of the first layer."""
        return self.grid.encoded + 3 * self.xyz

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Of each layer's weights, first layer first: hidden + 1 of them."""
        widths = (self.inputs, *[self.width] * self.hidden, self.outputs)
        return tuple((after, before) for before, after in pairwise(widths))

    @property
    def bias_shapes(self) -> tuple[tuple[int], ...]:
        """Of each layer's biases, or none at all."""
        return tuple((after,) for after, _ in self.weight_shapes) if self.biases else ()

    def check(self, table: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, mask: Tensor | None) -> None:
        """Raise InputError unless all have the shapes of this layout, one floating dtype and one device."""
        self.grid.check(table, x, mask)
        for name, tensors, shapes in (("weights", weights, self.weight_shapes), ("biases", biases, self.bias_shapes)):
            if len(tensors) != len(shapes):
                raise InputError(f"there must be {len(shapes)} {name}, got {len(tensors)}; this network has the shapes {shapes}")
            for layer, (tensor, shape) in enumerate(zip(tensors, shapes)):
                _fits(f"{name}[{layer}]", tensor, shape, x)


def _within(name: str, value: int, allowed: range) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}, got {value}")


def _among(name: str, value: object, allowed: tuple) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")


def _fits(name: str, tensor: Tensor, shape: tuple[int, ...], x: Tensor) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != x.dtype or tensor.device != x.device:
        want = f"{shape} {x.dtype} on the {x.device}, as x is"
        raise InputError(f"{name} must be {want}, got {tuple(tensor.shape)} {tensor.dtype} on the {tensor.device}")
