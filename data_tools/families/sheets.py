"""Thin solids: curved and folded sheets (shells), and plates, blocks, balls and tubes full of holes (perforated)."""

from __future__ import annotations

import numpy as np

from surfrecon.data_tools.families.draw import chance, direction, log_uniform, pick, rotation, waves
from surfrecon.data_tools.families.outlines import outline
from surfrecon.data_tools.profiles import around, bowed, extruded, revolved, stroke, twisted
from surfrecon.data_tools.shapes import Shape, box, cylinder, half_space, joined, repeated, shell, sphere, superquadric, torus


def shells(rng: np.random.Generator) -> Shape:
    """Part of a ball, cylinder, ring, cone or superquadric; a wavy plate; a box without a lid; a folded, rolled or twisted strip."""
    thickness = rng.uniform(0.06, 0.13)
    shape = pick(rng, _cut_shell, _cut_shell, _wavy_plate, _open_box, _folded, _folded)(rng, thickness)
    return shape.rotated(rotation(rng))


def _cut_shell(rng: np.random.Generator, thickness: float) -> Shape:
    kind = rng.integers(6)
    height = rng.uniform(0.8, 2.2)
    if kind == 0:
        body = sphere(1)
    elif kind == 1:
        body = cylinder(rng.uniform(0.4, 0.9), height, rounding=pick(rng, 0, 0.2))
    elif kind == 2:
        body = torus(0.8, rng.uniform(0.25, 0.6))
    elif kind == 3:
        axes, powers = rng.uniform(0.6, 1, 3), np.exp(rng.uniform(np.log(1.3), np.log(6), 2))
        body = superquadric(axes, *powers) - superquadric(axes - thickness, *powers)
    elif kind == 4:
        ends = rng.uniform(0.15, 1, 2)
        body = revolved(stroke([[ends[0], -height / 2], [ends[1], height / 2]], thickness))
    else:
        body = extruded(outline(rng), height)
    sheet = body if kind in (3, 4) else shell(body, thickness)
    for _ in range(rng.integers(1, 4)):
        cut = rng.integers(3)
        normal = direction(rng) if chance(rng, 0.6) else np.eye(3)[rng.integers(3)] * pick(rng, -1, 1)
        if cut == 0 or cut == 1:
            sheet = sheet & half_space(normal, rng.uniform(0.0, 0.75))
        else:
            sheet = sheet - sphere(rng.uniform(0.25, 0.6)).moved(normal * rng.uniform(0.7, 1))
    return sheet


def _wavy_plate(rng: np.random.Generator, thickness: float) -> Shape:
    """The plate |z - f(x, y)| < thickness / 2 over an outline, f a sum of waves, a saddle or a dome."""
    ripple, slope = waves(rng, int(rng.integers(1, 5)), rng.uniform(0.6, 2.5), rng.uniform(0.05, 0.35))
    twist = rng.normal(0, 0.3, 3)
    cut = extruded(outline(rng), 4) if chance(rng) else box([2, rng.uniform(0.8, 2), 4])
    steepest = np.hypot(1, slope + 2 * np.abs(twist).sum() * np.sqrt(2))  # of quadrics up to |x|, |y| < sqrt(2)
    half, steepest = thickness / 2, float(steepest)
    a, b, c = twist.tolist()

    def sheet(p: np.ndarray) -> np.ndarray:
        x, y = np.clip(p[:, 0], -1.1, 1.1), np.clip(p[:, 1], -1.1, 1.1)
        flat = np.stack([x, y, 0 * x], axis=1)
        bent = ripple(flat) + a * x * x + b * y * y + c * x * y
        return np.abs(p[:, 2] - bent) / steepest - half / min(steepest, 1.6)

    high = 0.4 + 1.3 * np.abs(twist).sum() + thickness
    return Shape(sheet, np.array([[-1.1, -1.1, -high], [1.1, 1.1, high]])) & cut


def _open_box(rng: np.random.Generator, thickness: float) -> Shape:
    """A box, tray, prism or tin without a lid; some with partitions."""
    height = log_uniform(rng, 0.3, 1.8)
    if chance(rng, 0.5):
        sides = np.array([log_uniform(rng, 0.8, 2), log_uniform(rng, 0.8, 2)])
        profile = box(sides, rounding=pick(rng, 0, 0, 0.2))
    else:
        profile = outline(rng).scaled(rng.uniform(0.7, 1))
        sides = np.ptp(profile.bounds, axis=0)
    walls = extruded(shell(profile, thickness), height)
    floor = extruded(profile, thickness).moved([0, 0, (thickness - height) / 2])
    parts = [walls, floor]
    if chance(rng, 0.4):
        for axis in range(pick(rng, 1, 2)):
            plate = sides.copy()
            plate[axis] = thickness
            place = np.zeros(3)
            place[axis] = rng.uniform(-0.2, 0.2) * sides[axis]
            parts.append(extruded(box(plate) & profile.moved(-place[:2]), height * rng.uniform(0.6, 1)).moved(place))
    shape = joined(parts)
    if chance(rng, 0.3):  # a lid ajar or a slanted brim
        shape = shape & half_space(np.array([0, np.sin(0.4), np.cos(0.4)]), height * rng.uniform(0.1, 0.4))
    return shape


def _folded(rng: np.random.Generator, thickness: float) -> Shape:
    """A strip of sheet along a zigzag, a wave, a spiral, an angle or an arc; some twisted or bowed."""
    kind = rng.integers(5)
    if kind == 0:  # corrugated
        count = int(rng.integers(4, 10))
        line = np.stack([np.linspace(-1, 1, count), rng.uniform(0.1, 0.3) * (-1.0) ** np.arange(count)], axis=1)
    elif kind == 1:
        x = np.linspace(-1, 1, 30)
        line = np.stack([x, rng.uniform(0.15, 0.4) * np.sin(rng.uniform(3, 9) * x + rng.uniform(0, 6))], axis=1)
    elif kind == 2:  # rolled up, a free gap between the turns
        angle = np.linspace(0, 2 * np.pi * rng.uniform(1.1, 2.6), 40)
        radius = 0.2 + (thickness + rng.uniform(0.08, 0.15)) * angle / (2 * np.pi) * 1.2
        line = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    elif kind == 3:  # angles: L, U, S, of random legs
        heading, line = 0.0, [np.zeros(2)]
        for _ in range(rng.integers(2, 6)):
            line.append(line[-1] + rng.uniform(0.4, 1) * np.array([np.cos(heading), np.sin(heading)]))
            heading += pick(rng, -1, 1) * rng.uniform(0.8, 1.8)
    else:
        angle = np.linspace(0, rng.uniform(1.5, 5), 24)
        line = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = log_uniform(rng, 0.5, 2)
    shape = extruded(stroke(line, thickness), height)
    shape = shape.moved(-shape.bounds.mean(axis=0))
    if chance(rng, 0.3):
        shape = twisted(shape, rng.uniform(-1, 1) / height)
    if chance(rng, 0.25):
        shape = bowed(shape, 0.15 * height, pick(rng, 0.5, 1))
    return shape


def perforated(rng: np.random.Generator) -> Shape:
    """Plates, blocks, balls and tubes with arrays of holes or slots; lattices of bars; periodic minimal surfaces."""
    return pick(rng, _plate, _plate, _ball, _pipe, _grid, _minimal)(rng).rotated(rotation(rng))


def _pins(rng: np.random.Generator, width: float, height: float, bar: float) -> tuple[Shape, np.ndarray]:
    """Parallel pins along z that leave bars between them, on a lattice over a square of a width."""
    counts = rng.integers(2, 7, 2)
    if chance(rng, 0.3):
        counts[1] = 1
    pitch = np.minimum(width / counts, [1, 1.9])
    hole = np.maximum(pitch - bar * rng.uniform(1, 2.5), 0.1)
    kind = rng.integers(3)
    if kind == 0:
        pin = cylinder(hole.min() / 2, height)
    elif kind == 1:
        pin = box([*hole, height])
    else:
        pin = box([*hole, height], rounding=min(hole.min(), height) * 0.49)
    return repeated(pin, [*pitch, 1], [*counts, 1]), pitch * counts


def _plate(rng: np.random.Generator) -> Shape:
    thickness, bar = log_uniform(rng, 0.1, 0.9), rng.uniform(0.09, 0.16)
    pins, held = _pins(rng, 1.8, 3, bar)
    sides = held + bar * rng.uniform(0.6, 2)
    if chance(rng, 0.3):
        body = cylinder(float(sides.max()) / 2, thickness)
        rim = shell(cylinder(float(sides.max()) / 2, thickness * 3), bar) & box([3, 3, thickness])
        return (body - pins) | rim
    body = box([*sides, thickness], rounding=pick(rng, 0, 0, 0.03)) - pins
    if thickness > 0.5 and chance(rng, 0.6):  # across as well
        across, _ = _pins(rng, 0.9 * thickness, 4, bar)
        body = body - across.axes(pick(rng, "yzx", "zxy"))
    return body


def _ball(rng: np.random.Generator) -> Shape:
    """A ball or a box, whole or hollow, bored from many sides."""
    body = sphere(1) if chance(rng, 0.6) else box(rng.uniform(1, 1.8, 3), rounding=rng.uniform(0, 0.3))
    if chance(rng, 0.6):
        body = shell(body, rng.uniform(0.15, 0.3))
    count, radius = int(rng.integers(3, 14)), rng.uniform(0.12, 0.3)
    axes = np.eye(3)
    if chance(rng, 0.7):  # an even spiral over the sphere
        z = 1 - (np.arange(count) + 0.5) / count
        angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
        axes = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)
    return body - joined([_bore(axis, radius) for axis in axes])


def _bore(axis: np.ndarray, radius: float) -> Shape:
    """An endless cylinder through the origin."""
    axis, radius = np.asarray(axis, float), float(radius)

    def distance(p: np.ndarray) -> np.ndarray:
        a = axis.astype(p.dtype)
        q = p - (p @ a)[:, None] * a
        return np.sqrt((q * q).sum(axis=1)) - radius

    return Shape(distance, np.array([[-np.inf] * 3, [np.inf] * 3]))


def _pipe(rng: np.random.Generator) -> Shape:
    """A tube, its wall full of holes in rows around it."""
    radius, height, bar = rng.uniform(0.35, 0.9), rng.uniform(0.6, 2.2), rng.uniform(0.1, 0.15)
    wall = rng.uniform(0.1, 0.2)
    body = cylinder(radius, height) - cylinder(radius - wall, 2 * height)
    if chance(rng, 0.3):
        body = body | cylinder(radius, bar).moved([0, 0, -(height - bar) / 2])
    rows = int(np.clip(rng.integers(1, 6), 1, height / 0.35))
    count = int(np.clip(rng.integers(4, 12), 3, 2 * np.pi * (radius - wall) / 0.3))
    pitch = (height - bar) / rows
    wide, high = 2 * np.pi * (radius - wall) / count - bar, pitch - bar
    size = min(wide, high)
    hole = cylinder(size / 2, radius + 1).axes("yzx") if chance(rng) else box([radius + 1, wide, high], rounding=pick(rng, 0, 0.3) * size)
    column = repeated(hole.moved([(radius + 1) / 2, 0, 0]), [100, 100, pitch], [1, 1, rows])
    return body - around(column, count)


def _grid(rng: np.random.Generator) -> Shape:
    """A lattice of square or round bars along two or three axes, cut out of a box or a ball."""
    bar = rng.uniform(0.1, 0.2)
    pitch = rng.uniform(0.35, 0.8)
    counts = rng.integers(2, 5, 3)
    span = (counts - 1) * pitch + bar
    span, counts = np.minimum(span, 2.2), np.minimum(counts, (2.2 - bar) // pitch + 1)
    reach = (counts - 1) * pitch + bar
    parts = []
    for axis in range(pick(rng, 2, 3, 3)):
        order = np.roll(np.arange(3), -axis)
        one = box([reach[axis], bar, bar]) if chance(rng, 0.6) else cylinder(bar / 2, reach[axis]).axes("yzx")
        copies = counts[order].copy()
        copies[0] = 1
        parts.append(repeated(one, [100, pitch, pitch], copies).axes(("xyz", "yzx", "zxy")[axis]))
    shape = joined(parts)
    return shape & sphere(float(reach.max()) * 0.6) if chance(rng, 0.25) else shape


def _minimal(rng: np.random.Generator) -> Shape:
    """A gyroid or Schwarz surface, thick or one side of it, in a box, a ball or a cylinder. Their slope is at most sqrt(3) per phase."""
    period = rng.uniform(0.7, 1.5)
    k, phase = 2 * np.pi / period, rng.uniform(0, 2 * np.pi, 3)
    gyroid, sheet, level = chance(rng), chance(rng), rng.uniform(-0.5, 0.5)
    half = max(rng.uniform(0.05, 0.1) * k * 3**0.5, 0.35)

    def distance(p: np.ndarray) -> np.ndarray:
        q = (k * p + phase.astype(p.dtype)).T
        x, y, z = np.cos(q)
        f = np.sin(q[0]) * y + np.sin(q[1]) * z + np.sin(q[2]) * x if gyroid else x + y + z
        return (np.abs(f) - half if sheet else f - level) / (k * 3**0.5)

    cut = pick(rng, sphere(1.0), box(rng.uniform(1, 2, 3)), cylinder(rng.uniform(0.6, 1), rng.uniform(1, 2)))
    return Shape(distance, cut.bounds) & cut
