"""Samples along rays as the ops on them pass them on, all rays' in one array, and what becomes of them.

Letters: R rays, S samples of all rays together. A ray is o + t d with |d| = 1, so that t is a length in the unit frame. A sample stands for
an interval of its ray and lies in its middle. The samples of ray r are offsets[r] ... offsets[r + 1] - 1, the nearest first; rays may have
none, and intervals of a ray may leave gaps, which are taken to be empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from surfrecon.errors import InputError


@dataclass(frozen=True)
class Samples:
    """Intervals of rays.

    Attributes:
        t: (S,) their middles, unit frame.
        lengths: (S,) >= 0, unit frame.
        offsets: (R + 1,) int64, from 0 to S, never falling.
    Raises:
        InputError: a shape, dtype or device is another. Whether offsets fall is for who reads them to check, if it matters there.
    """

    t: Tensor
    lengths: Tensor
    offsets: Tensor

    def __post_init__(self):
        if self.t.ndim != 1 or not self.t.is_floating_point():
            raise InputError(f"t must be (any,) numbers of a floating dtype, got {tuple(self.t.shape)} {self.t.dtype}")
        fits("lengths", self.lengths, (len(self.t),), self.t)
        if self.offsets.ndim != 1 or not len(self.offsets) or self.offsets.dtype != torch.int64 or self.offsets.device != self.t.device:
            want = f"(rays + 1,) int64 on the {self.t.device}, as t is"
            raise InputError(f"offsets must be {want}, got {tuple(self.offsets.shape)} {self.offsets.dtype} on the {self.offsets.device}")

    def __len__(self) -> int:
        """S."""
        return len(self.t)

    @property
    def rays(self) -> int:
        """R."""
        return len(self.offsets) - 1

    @property
    def starts(self) -> Tensor:
        """(S,) where the intervals begin."""
        return self.t - self.lengths / 2

    @property
    def ends(self) -> Tensor:
        """(S,) where the intervals end."""
        return self.t + self.lengths / 2

    @property
    def counts(self) -> Tensor:
        """(R,) samples of each ray."""
        return self.offsets.diff()

    def ray_of(self) -> Tensor:
        """(S,) int64 ray of each sample."""
        numbers = torch.arange(self.rays, device=self.offsets.device)
        return numbers.repeat_interleave(self.counts, output_size=len(self))

    def check_order(self) -> None:
        """Raise InputError unless offsets go from 0 to S and never fall."""
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        if first != 0 or last != len(self) or bool((self.counts < 0).any()):
            raise InputError(
                f"offsets must go from 0 to {len(self)}, the number of samples, and never fall; these go from {first} to {last}"
            )


class Surface(NamedTuple):
    """A surface as rays see it, by which samples are chosen.

    Attributes:
        values: (N, N, N) signed distance at the nodes of a lattice over the box, linear between them.
        inv_s: sharpness of its logistic density, > 0, in 1 / unit length.
        band: distance, unit frame, from which a sample tells nothing.
        dark: 0 to 1: transmittance behind which nothing is seen.
    """

    values: Tensor
    inv_s: float
    band: float
    dark: float


class Composite(NamedTuple):
    """What rays gather from their samples.

    Attributes:
        weights: (S,) of each sample in what its ray sees, w.
        color: (R, 3) the sum of w times colour, before any background.
        depth: (R,) the sum of w t.
        normal: (R, 3) the sum of w times gradient: not of unit length.
        transmittance: (R,) what of the light from behind all samples arrives, 1 minus the sum of w.
    """

    weights: Tensor
    color: Tensor
    depth: Tensor
    normal: Tensor
    transmittance: Tensor

    @property
    def opacity(self) -> Tensor:
        """(R,) the sum of w."""
        return 1 - self.transmittance


def box_interval(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) where rays enter the box, 0 if they begin in it, and where they leave it; those that miss it leave before they enter.

    A ray that is not finite, or has no direction, misses it.
    """
    along = directions != 0
    divisor = torch.where(along, directions, 1.0)
    ends = torch.stack([(-1 - origins) / divisor, (1 - origins) / divisor])
    within = torch.where(origins.abs() <= 1, torch.inf, -torch.inf)  # of rays parallel to an axis's two sides
    near, far = torch.where(along, ends.amin(0), -within), torch.where(along, ends.amax(0), within)
    near, far = near.amax(1).clamp(min=0), far.amin(1)
    finite = torch.isfinite(far) & torch.isfinite(origins).all(1) & torch.isfinite(directions).all(1)
    return near, torch.where(finite, far, -torch.inf)


def check_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, anneal: float
) -> None:
    """Raise InputError unless all are of the samples' dtype, on their device, and of the shapes that neus_composite takes."""
    count = len(samples)
    fits("directions", directions, (samples.rays, 3), samples.t)
    for name, tensor, shape in (("sdf", sdf, (count,)), ("gradient", gradient, (count, 3)), ("color", color, (count, 3))):
        fits(name, tensor, shape, samples.t)
    fits("inv_s", inv_s, (), samples.t)
    if not 0 <= anneal <= 1:
        raise InputError(f"anneal must be from 0 to 1, got {anneal}; 1 is NeuS without annealing")


def check_march(
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    step: float | Tensor,
    jitter: Tensor,
    most: int,
    surface: Surface | None = None,
) -> Tensor:
    """(R,) steps, for check_steps(); InputError unless all else has the shapes, dtypes and values that march takes."""
    if occupied.ndim != 3 or len(set(occupied.shape)) > 1 or not occupied.numel() or occupied.dtype != torch.bool:
        raise InputError(f"occupied must be (M, M, M) bool with M >= 1, got {tuple(occupied.shape)} {occupied.dtype}")
    if origins.ndim != 2 or origins.shape[1] != 3 or not origins.is_floating_point():
        raise InputError(f"origins must be (any, 3) numbers of a floating dtype, got {tuple(origins.shape)} {origins.dtype}")
    if occupied.device != origins.device:
        raise InputError(f"occupied must be on the {origins.device}, as origins are, got the {occupied.device}")
    fits("directions", directions, tuple(origins.shape), origins)
    fits("jitter", jitter, (len(origins),), origins)
    if not isinstance(step, Tensor):
        step = torch.full((len(origins),), step, dtype=origins.dtype, device=origins.device)
    fits("step", step, (len(origins),), origins)
    if most < 1:
        raise InputError(f"most must be >= 1 sample a ray, got {most}")
    if surface is not None:
        values = surface.values
        if values.ndim != 3 or len(set(values.shape)) > 1 or len(values) < 2:
            raise InputError(f"the values of a surface must be (N, N, N) with N >= 2, got {tuple(values.shape)}")
        fits("the values of a surface", values, tuple(values.shape), origins)
        if not (surface.inv_s > 0 and surface.band > 0 and 0 <= surface.dark <= 1):
            raise InputError(f"a surface needs inv_s > 0, band > 0 and dark from 0 to 1, got {surface[1:]}")
    return step


def check_steps(step: Tensor) -> None:
    """Raise InputError unless all are > 0: apart from check_march, as a GPU is waited for."""
    if not bool((step > 0).all()):
        raise InputError("step must be > 0 (unit frame); take a fraction of a cell of the lattice")


def fits(name: str, tensor: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise InputError unless a tensor has a shape, and the dtype and device of another."""
    if tuple(tensor.shape) != shape or tensor.dtype != like.dtype or tensor.device != like.device:
        want = f"{shape} {like.dtype} on the {like.device}"
        raise InputError(f"{name} must be {want}, got {tuple(tensor.shape)} {tensor.dtype} on the {tensor.device}")
