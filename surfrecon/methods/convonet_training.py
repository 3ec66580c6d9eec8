"""How convonet's networks learn: scans of known shapes, made anew for every step, and the loss.

A batch depends on the seed, the step and the process alone, so a training that is resumed sees what it would have seen.
Letters: B shapes of a batch, N points each, Q places each, K neighbours of a place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from surfrecon.geometry import PointCloud
from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.frames import object_lattice, scene_step
from surfrecon.networks.neighbours import Neighbours
from surfrecon.networks.processes import Processes
from surfrecon.networks.windows import encoded
from surfrecon.optimize import Adam, cosine, train, warmed
from surfrecon.run import Run
from surfrecon.shape_set import UNIT, VIEWS, Record, ShapeSet
from surfrecon.thinning import thinned

# Of the scans. Lengths are in the longest side of the whole shape.
USUAL_POINTS, FEWEST, MOST = 3000, 300, 8000  # points of half of the batches, and of the others, evenly in their logarithm
USUAL_NOISE, MOST_NOISE = 0.005, 0.012  # likewise, of a shape
ONE_SIDED, MOST_EYES = 0.65, VIEWS // 2  # share of the shapes that are seen from some sides alone, from so many of them at most
TOGETHER, FEW = 0.65, 4  # share of these whose eyes, so many at most, stand together: a side is missing. The others' stand anywhere
LEAST_SEEN = 0.3  # of the surface: eyes are added until they see as much
LOST, KEPT = np.cos(np.radians(85)), np.cos(np.radians(60))  # rays that come back as those of data_tools/scanner.py: none, and all
THINNED, SPARE_POINTS = 0.5, 4  # share of the scans that are thinned, as real ones are, from at most so many times as many points
SCENE_POINTS = 0.25  # least share of a record's points that a scan of a scene has
STRAYS, MOST_STRAYS = 0.25, 0.02  # share of the shapes with outliers, and of their points that are some
TURNED = 0.5  # share of the shapes that are turned by any angle, the others by quarters

WARMING, LAST_SHARE = 200, 0.01  # steps until the learning rate is at its greatest; what is left of it in the end
SMOOTHED = 50  # steps over which the loss that is shown is a mean
MORE = 3  # times as many places as are learnt from, of which those next to the surface are sought
BOUNDARY = 0.08  # a place nearer than this to one of the other kind is next to the surface; in longest sides of the box, as published
AT_ONCE = 2**15  # places that are asked about together


@dataclass(frozen=True)
class Lessons:
    """What a training is like.

    Attributes:
        batch: shapes of a step.
        places: queries of a shape.
        rate: learning rate at its greatest; it falls to LAST_SHARE of it along a cosine.
        steps: of Adam.
        margin: by which the log odds must be right, of places next to the surface; 0 learns from all places, without one.
    """

    batch: int = 4
    places: int = 2048
    rate: float = 1e-3
    steps: int = 20_000
    margin: float = 0.0


class Batch(NamedTuple):
    """Scans in cells of the network's grid, and what is to be known of them.

    Attributes:
        points: (B, N, 3).
        places: (B, Q, 3).
        inside: (B, Q) 0 or 1.
        nearest: (B, Q, K), or None where the network asks for none.
    """

    points: Tensor
    places: Tensor
    inside: Tensor
    nearest: Tensor | None

    def part(self, divisor: int) -> Batch:
        """The first of so many parts, at least a shape."""
        return Batch(*(None if part is None else part[: max(1, len(part) // divisor)] for part in self))

    def to(self, device: torch.device) -> Batch:
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))


class Scanned(NamedTuple):
    """A scan of a shape: (N, 3) points, (Q, 3) places, (Q,) whether they are inside; float32, any frame."""

    points: np.ndarray
    places: np.ndarray
    inside: np.ndarray


def batch_of(shapes: ShapeSet, numbers: np.ndarray, lessons: Lessons, layout: Layout, rng: np.random.Generator) -> Batch:
    """Scans of some shapes of a set, as a scanner might have made them: of objects, or windows of scenes."""
    usual = USUAL_POINTS if rng.random() < 0.5 else round(FEWEST * (MOST / FEWEST) ** rng.random())
    rows = []
    for shape in (shapes[number] for number in numbers):
        count = usual if layout.places else round(len(shape.points) * SCENE_POINTS ** rng.random())
        scan = scanned(shape, count, rng, upright=not layout.places)
        scan = _boxed(scan, layout.cells) if layout.places else _windowed(scan, layout.cells, rng)
        rows.append(_drawn(scan, lessons, layout.cells, rng))
    return _stacked(rows, layout)


def scanned(shape: Record, count: int, rng: np.random.Generator, *, upright: bool = False) -> Scanned:
    """Up to `count` points of a turned shape, with noise, from all sides or some, a few of them astray.

    Args:
        upright: up stays up, as in scans of scenes: what is solid below a floor looks like what is solid above it.
    """
    turn, weight = _turn(rng, upright), None
    if rng.random() < ONE_SIDED:
        together = rng.random() < TOGETHER
        order = shape.eyes.astype(float) @ rng.standard_normal(3) if together else rng.random(VIEWS)
        eyes, some = np.argsort(order), rng.integers(1, (FEW if together else MOST_EYES) + 1)
        weight = density(shape, eyes[:some])
        while np.count_nonzero(weight) < LEAST_SEEN * len(weight) and some < VIEWS:
            weight, some = weight + density(shape, eyes[some : some + 1]), some + 1
        weight = weight if weight.any() else None
    wanted = round(count * rng.uniform(1, SPARE_POINTS)) if rng.random() < THINNED else count
    points = shape.points[_some(weight, len(shape.points), wanted, rng)].astype(np.float32) @ turn.T
    noise = (USUAL_NOISE if rng.random() < 0.5 else MOST_NOISE * rng.random()) * _quiet(count)
    points += noise * rng.standard_normal(points.shape, np.float32)
    if wanted > count:
        points = thinned(PointCloud(points.astype(float)), enough=count).points.astype(np.float32)
    if rng.random() < STRAYS:
        strays = rng.choice(len(points), round(MOST_STRAYS * rng.random() * len(points)), replace=False)
        points[strays] = rng.uniform(points.min(axis=0), points.max(axis=0), (len(strays), 3))
    return Scanned(points, shape.places.astype(np.float32) @ turn.T, shape.inside)


def _quiet(count: int) -> float:
    """Share of an object's noise that a scan of more than MOST points has, so that it stays the same in spacings."""
    return min(1.0, (MOST / count) ** 0.5)


def _some(weight: np.ndarray | None, total: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """(wanted,) numbers below `total`, the more likely the greater their weight; some twice only where too few have one."""
    if weight is None:
        return rng.choice(total, wanted, replace=total < wanted)
    return rng.choice(total, wanted, replace=np.count_nonzero(weight) < wanted, p=weight / weight.sum())


def density(shape: Record, eyes: np.ndarray) -> np.ndarray:
    """(N,) how closely the pixels of scanners at some of a shape's eyes lie at its points: 0 where none of them sees."""
    points, total = shape.points.astype(np.float32), 0.0
    for eye in eyes:
        ray = shape.eyes[eye].astype(np.float32) - points
        distance = np.linalg.norm(ray, axis=1)
        cosine = np.einsum("ni,ni->n", shape.normals.astype(np.float32), ray) / (UNIT * distance)
        seen = shape.seen >> np.uint16(eye) & 1
        total = total + seen * ((cosine - LOST) / (KEPT - LOST)).clip(0, 1) * cosine / distance**2
    return total


def _turn(rng: np.random.Generator, upright: bool) -> np.ndarray:
    """(3, 3) a turn, half of the time mirrored."""
    if upright:
        turn = Rotation.from_euler("z", 2 * np.pi * rng.random()).as_matrix() if rng.random() < TURNED else np.eye(3)
        order = [*rng.permutation(2), 2]
        return (turn[order] * [[rng.choice([-1, 1])], [rng.choice([-1, 1])], [1]]).astype(np.float32)
    if rng.random() < TURNED:
        turn = Rotation.random(random_state=rng).as_matrix()
    else:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    return (turn * rng.choice([-1, 1])).astype(np.float32)


def _boxed(scan: Scanned, cells: int) -> Scanned:
    """In cells of the box that an object's points are scaled to."""
    origin, step = object_lattice(scan.points, cells)
    return Scanned((scan.points - origin) / step, (scan.places - origin) / step, scan.inside)


def _windowed(scan: Scanned, cells: int, rng: np.random.Generator) -> Scanned:
    """In cells of a window of a scene, somewhere about one of its points, with the points that lie in it."""
    step = scene_step(scan.points)
    middle = scan.points[rng.integers(len(scan.points))] + step * rng.uniform(-cells / 4, cells / 4, 3)
    points, places = ((p - middle) / step + cells / 2 for p in (scan.points, scan.places))
    return Scanned(points[((points >= 0) & (points <= cells)).all(axis=1)], places, scan.inside)


def _drawn(scan: Scanned, lessons: Lessons, cells: int, rng: np.random.Generator) -> Scanned:
    """As many of the places in the lattice as a step learns from, some twice where there are too few; with a margin, of its boundary."""
    inner = np.flatnonzero(((scan.places >= 0) & (scan.places <= cells)).all(axis=1))
    rows = inner[rng.permutation(len(inner))[: MORE * lessons.places]]
    if lessons.margin and len(rows):
        near = next_to_surface(scan.places[rows] / cells, scan.inside[rows])
        rows = rows[near] if near.any() else rows
    rows = np.resize(rows if len(rows) else np.arange(len(scan.places)), lessons.places)
    return Scanned(scan.points, scan.places[rows].clip(0, cells), scan.inside[rows])


def next_to_surface(places: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(Q,) whether a place of the other kind is nearer than BOUNDARY.

    Source: Li et al., "GridFormer: point-grid transformer for surface reconstruction", 2024, section 3.4.
    """
    near = np.zeros(len(places), bool)
    if inside.any() and not inside.all():
        for kind in (True, False):
            rows = np.flatnonzero(inside == kind)
            distance, _ = cKDTree(places[inside != kind]).query(places[rows], distance_upper_bound=BOUNDARY, workers=-1)
            near[rows] = np.isfinite(distance)
    return near


def _stacked(rows: list[Scanned], layout: Layout) -> Batch:
    """As one; clouds of fewer points than others have some twice, of which no query is a neighbour."""
    places, inside = (torch.from_numpy(np.stack(part).astype(np.float32)) for part in list(zip(*rows))[1:])
    nearest = None
    if layout.neighbours:
        count = min(layout.neighbours, *(len(row.points) for row in rows))
        nearest = torch.stack([Neighbours(torch.from_numpy(row.points))(own, count) for row, own in zip(rows, places)])
    most = max(len(row.points) for row in rows)
    points = np.stack([np.resize(row.points, (most, 3)) for row in rows])
    return Batch(torch.from_numpy(points.astype(np.float32)), places, inside, nearest)


class Batches:
    """The batches of a training by their step, the next one made while this one is learnt from."""

    def __init__(self, shapes: ShapeSet, lessons: Lessons, layout: Layout, *, seed: int, rank: int = 0):
        """Args: rank: of the process among those that learn together; each has batches of its own."""
        self.shapes, self.lessons, self.layout, self.key = shapes, lessons, layout, (seed, rank)
        self.pool, self.ahead = ThreadPoolExecutor(1), (-1, None)

    def __call__(self, step: int) -> Batch:
        number, future = self.ahead
        batch = future.result() if number == step else self._made(step)
        self.ahead: tuple[int, Future | None] = step + 1, self.pool.submit(self._made, step + 1)
        return batch

    def _made(self, step: int) -> Batch:
        rng = np.random.default_rng([*self.key, step])
        numbers = rng.choice(len(self.shapes), self.lessons.batch, replace=len(self.shapes) < self.lessons.batch)
        return batch_of(self.shapes, numbers, self.lessons, self.layout, rng)


def loss_of(network: torch.nn.Module, batch: Batch, margin: float = 0.0) -> Tensor:
    """() binary cross entropy of the odds, those of places asked to be right by a margin.

    Source: Peng et al., "Convolutional occupancy networks", 2020, eq. 3; the margin as in Li et al., 2024, section 3.4.
    """
    odds = network(batch.points, batch.places, batch.nearest)
    return F.binary_cross_entropy_with_logits(odds.float() - margin * (2 * batch.inside - 1), batch.inside)


@torch.no_grad()
def validated(network: OccupancyNetwork, shapes: ShapeSet, *, device: torch.device) -> Mapping[str, float]:
    """Family -> mean IoU over its shapes, scanned all around with USUAL_NOISE: at the set's places anywhere in the box.

    Objects have USUAL_POINTS points, scenes half of their record's.
    """
    found: dict[str, list[float]] = {name: [] for name in shapes.families}
    for number in range(len(shapes)):
        shape, rng = shapes[number], np.random.default_rng(number)
        count = USUAL_POINTS if network.layout.places else len(shape.points) // 2
        points = shape.points[rng.choice(len(shape.points), count, replace=False)].astype(np.float32)
        points += USUAL_NOISE * _quiet(count) * rng.standard_normal(points.shape, np.float32)
        lattice, features = encoded(network, points, device=device)
        places, truth = shape.places[: len(shape.places) // 2], shape.inside[: len(shape.places) // 2]
        x = lattice.cells_of(torch.from_numpy(places.astype(np.float32)).to(device))
        row = torch.cat([network.decode(features, part[None])[0] for part in x.split(AT_ONCE)]).cpu().numpy() > 0
        found[shapes.families[shape.family]].append((row & truth).sum() / max(1, (row | truth).sum()))
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def learn(
    network: OccupancyNetwork,
    batches: Batches,
    lessons: Lessons,
    *,
    run: Run,
    processes: Processes,
    unseen: ShapeSet | None = None,
    every: int = 500,
    show: Callable[[int, dict[str, Any]], None],
) -> dict[str, Any]:
    """Teach a network, in place; what was found last: loss, and IoU by family.

    Args:
        run: device, progress, checkpoints.
        processes: that learn together.
        unseen: shapes to measure it on, of none of those that it learns from.
        every: steps from one such look to the next.
        show: called after each with the steps done and what was found.
    """
    device, started = run.torch_device(), time.monotonic()
    together = processes.together(network)
    recent: list[float] = []
    found: dict[str, Any] = {}

    def loss(step: int, divisor: int) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return loss_of(together, batches(step).part(divisor).to(device), lessons.margin)

    def on_step(step: int, value: float) -> None:
        nonlocal found
        recent.append(value)
        run.step("train", step, lessons.steps, loss=float(np.mean(recent[-SMOOTHED:])))
        if step % every == 0 or step == lessons.steps:
            found = {"loss": float(np.mean(recent)), "seconds": round(time.monotonic() - started)}
            recent.clear()
            if unseen is not None:
                found["iou"] = validated(network, unseen, device=device)
            show(step, found)

    rate = warmed(cosine(lessons.rate, last=LAST_SHARE * lessons.rate, steps=lessons.steps), min(WARMING, lessons.steps))
    descent = Adam(loss, dict(network.named_parameters()), rate=rate)
    train(descent, steps=lessons.steps, run=run, on_step=on_step)
    return found
