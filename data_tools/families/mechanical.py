"""Machine parts: flanges, gears, brackets, bearings, shafts, housings, pulleys, levers. About 2 wide, axes along z."""

from __future__ import annotations

import numpy as np

from surfrecon.data_tools.families.draw import about, chance, pick, rotation, upright
from surfrecon.data_tools.profiles import around, extruded, polygon, revolved, rounded
from surfrecon.data_tools.shapes import Shape, box, capsule, cylinder, joined, repeated, smooth_union, sphere, torus

ENDLESS = 9.0  # length of what bores through
WALL = 0.1  # least width of what is left beside a bore, in a part about 2 long


def mechanical(rng: np.random.Generator) -> Shape:
    """A machine part."""
    kinds = (_flange, _gear, _gear, _bracket, _bracket, _bearing, _shaft, _housing, _housing, _wheel, _lever, _lever, _nut, _clamp)
    part = pick(rng, *kinds)(rng)
    return part.rotated(rotation(rng) if chance(rng) else upright(rng))


def _bolts(rng: np.random.Generator, inner: float, outer: float) -> Shape:
    """Holes on a circle between two radii."""
    count = int(rng.integers(3, 11))
    middle = (inner + outer) / 2
    radius = min((outer - inner) / 2 - 0.6 * WALL, np.pi * middle / count - 0.6 * WALL, 0.15)
    return around(cylinder(max(radius, 0.04), ENDLESS).moved([middle, 0, 0]), count)


def _flange(rng: np.random.Generator) -> Shape:
    """A disk or a plate with a hub or pipe, a bore and a circle of bolts; some with a second flange or ribs."""
    hub, thick, height = rng.uniform(0.3, 0.6), rng.uniform(0.12, 0.3), rng.uniform(0.2, 2.2)
    disk = cylinder(1, thick, pick(rng, 0, 0.04))
    if chance(rng, 0.3):
        disk = box([2, rng.uniform(1.4, 2), thick], pick(rng, 0, 0.05))
    if chance(rng, 0.15):
        count = int(rng.integers(3, 7))
        disk = extruded(joined([sphere(0.75, 2), around(sphere(0.28, 2).moved([0.72, 0]), count)]), thick)
    body = smooth_union(disk, cylinder(hub, height).moved([0, 0, height / 2]), pick(rng, 0.01, 0.1))
    if chance(rng, 0.3):
        body = body | cylinder(rng.uniform(hub, 1), thick).moved([0, 0, height])
    if chance(rng, 0.3):
        rib = polygon([[0, 0], [0.95, 0], [hub + 0.05, height * 0.7], [0, height * 0.7]])
        body = body | around(extruded(rib, 0.1).axes("xzy"), int(rng.integers(3, 7)))
    bore = cylinder(hub - rng.uniform(WALL, 0.2), ENDLESS)
    if chance(rng, 0.15):
        bore = bore.moved([0, 0, ENDLESS / 2])
    return body - bore - _bolts(rng, hub, 0.98)


def _gear(rng: np.random.Generator) -> Shape:
    """A toothed wheel with a bore, spokes or holes, and a hub; some with a second wheel, some conical rims."""
    thick = rng.uniform(0.15, 0.7)
    body = extruded(_teeth(rng, 1.0), thick)
    if chance(rng, 0.5):  # a lighter web
        inner, hub = rng.uniform(0.55, 0.65), rng.uniform(0.25, 0.35)
        if chance(rng):
            recess = (cylinder(inner, thick) - cylinder(hub, ENDLESS)).moved([0, 0, max(thick * 0.7, thick / 2 + 0.06)])
            body = body - recess - recess.rotated(np.diag([1.0, -1, -1]))
        elif inner - hub > 0.2:
            body = body - _bolts(rng, hub, inner + 0.05)
    if chance(rng, 0.4):
        body = body | cylinder(rng.uniform(0.25, 0.45), thick * rng.uniform(1.5, 3)).moved([0, 0, thick * rng.uniform(0, 0.6)])
    if chance(rng, 0.2):
        body = body | extruded(_teeth(rng, rng.uniform(0.4, 0.7)), thick).moved([0, 0, thick])
    if chance(rng, 0.8):
        bore = rng.uniform(0.08, 0.2)
        body = body - cylinder(bore, ENDLESS)
        if chance(rng, 0.4):
            body = body - box([0.1, 0.1, ENDLESS]).moved([bore, 0, 0])
    return body


def _teeth(rng: np.random.Generator, radius: float) -> Shape:
    """The outline of a gear, its teeth straight flanked; or a ratchet's."""
    count = int(rng.integers(7, 21))
    depth = radius * min(rng.uniform(0.12, 0.25), 5 / count)
    root, pitch = radius - depth, 2 * np.pi * (radius - depth) / count
    low, high = pitch * rng.uniform(0.25, 0.35), pitch * rng.uniform(0.1, 0.25)
    if chance(rng, 0.15):
        return polygon(np.stack([_regular(count, radius), _regular(count, root)], axis=1).reshape(-1, 2))
    tooth = polygon([[0.9 * root, -low], [radius, -high], [radius, high], [0.9 * root, low]])
    return sphere(root, 2) | around(tooth, count)


def _bracket(rng: np.random.Generator) -> Shape:
    """Two or three plates at angles, with holes, slots, ribs and bosses."""
    thick, width = rng.uniform(0.12, 0.25), rng.uniform(0.6, 1.6)
    reach, rise = rng.uniform(0.7, 1.8), rng.uniform(0.6, 1.6)
    soft = pick(rng, 0, 0.03)
    foot = box([reach, width, thick], soft).moved([reach / 2, 0, thick / 2])
    wall = box([thick, width, rise], soft).moved([thick / 2, 0, rise / 2])
    if rise > width * 0.7 and chance(rng, 0.4):  # a rounded top
            outline = box([rise - width / 2, width]).moved([-width / 4, 0]) | sphere(width / 2, 2).moved([(rise - width) / 2, 0])
            wall = extruded(outline, thick).axes("zyx").moved([thick / 2, 0, rise / 2])
    parts = [foot, wall]
    kind = rng.integers(4)
    if kind == 0:
        parts.append(box([thick, width, rise]).moved([reach - thick / 2, 0, rise / 2]))  # a U
    elif kind == 1:
        parts.append(box([rng.uniform(0.4, 0.8), width, thick]).moved([-0.15, 0, rise - thick / 2]))  # a Z
    elif kind == 2:
        rib = extruded(polygon([[0, 0], [0.8 * reach, 0], [0, 0.8 * rise]]), thick * 0.8).axes("xzy")
        places = pick(rng, [0.0], [-width / 2 + 0.4 * thick, width / 2 - 0.4 * thick])
        parts += [rib.moved([0, place, 0]) for place in places]
    body = joined(parts, pick(rng, 0.0, 0.05))
    hole = rng.uniform(0.07, 0.14)
    pin = cylinder(hole, ENDLESS) if chance(rng, 0.6) else box([min(4 * hole, 0.4 * reach), 2 * hole, ENDLESS], rounding=hole * 0.99)
    counts = [pick(rng, 1, 2) if reach > 1 else 1, pick(rng, 1, 2) if width > 0.9 else 1, 1]
    body = body - repeated(pin, [0.4 * reach, 0.5 * width, 1], counts).moved([0.6 * reach, 0, 0])
    if chance(rng, 0.7):
        radius = min(rng.uniform(0.15, 0.35), width / 2 - WALL, rise / 3)
        place = np.array([0, 0, rise - max(radius + WALL, rise * 0.35)])
        if chance(rng, 0.5):
            body = body | cylinder(radius + WALL, thick * 3).axes("yzx").moved(place + np.array([thick / 2, 0, 0]))
        body = body - cylinder(radius, 1.5).axes("yzx").moved(place)
    return body


def _bearing(rng: np.random.Generator) -> Shape:
    """Two races and the balls or rollers between them, which touch both."""
    outer, inner, width = 1.0, rng.uniform(0.35, 0.6), rng.uniform(0.25, 0.6)
    wall = rng.uniform(0.1, 0.15)
    ball = (outer - inner) / 2 - wall + 0.045
    middle = (outer + inner) / 2
    races = (cylinder(outer, width) - cylinder(outer - wall, ENDLESS)) | (cylinder(inner + wall, width) - cylinder(inner, ENDLESS))
    count = int(max(min(rng.integers(6, 13), np.pi * middle / (ball * 1.1)), 3))
    rolling = sphere(ball) if chance(rng, 0.6) else cylinder(ball, width * rng.uniform(0.7, 0.95))
    shape = races | around(rolling.moved([middle, 0, 0]), count)
    if chance(rng, 0.35):  # a pillow block
        foot = box([2.8, 2 * outer, width * 1.1]).moved([0, -outer * 1.0, 0]) & box([2.8, 1.5, 2]).moved([0, -0.9, 0])
        bolts = repeated(cylinder(0.12, ENDLESS).axes("xzy"), [2.1, 1, 1], [2, 1, 1])
        foot = foot - cylinder(outer - wall / 2, ENDLESS) - bolts
        shape = shape | foot
    return shape


def _shaft(rng: np.random.Generator) -> Shape:
    """Steps along an axis with keyways, flats, grooves, a cross bore or a thread of rings."""
    steps = int(rng.integers(3, 8))
    lengths = rng.uniform(0.15, 0.7, steps)
    z = np.concatenate([[0], np.cumsum(lengths)])
    z *= rng.uniform(1.8, 2.4) / z[-1]
    radii = rng.uniform(0.13, 0.45, steps)
    line = np.stack([np.repeat(radii, 2), np.repeat(z, 2)[1:-1]], axis=1)
    body = revolved(polygon(np.concatenate([[[-1, 0]], line, [[-1, z[-1]]]])))
    for i in range(steps):
        middle, long = (z[i] + z[i + 1]) / 2, z[i + 1] - z[i]
        kind = rng.integers(6)
        if kind == 0 and long > 0.3:  # a keyway
            body = body - box([0.16, 0.12, 0.7 * long], rounding=0.05).moved([radii[i], 0, middle])
        elif kind == 1 and radii[i] > 0.25:
            body = body - cylinder(min(0.3 * radii[i], 0.3 * long, 0.1), 2).axes("yzx").moved([0, 0, middle])
        elif kind == 2 and radii[i] > 0.2:  # a hexagon
            cap = cylinder(2, long).moved([0, 0, middle])
            hexagon = extruded(polygon(_regular(6, 0.95 * radii[i])), ENDLESS)
            body = body - (cap - hexagon)
        elif kind == 3 and long > 0.35:  # rings like a thread
            count = int(long / 0.14)
            ring = torus(radii[i], 0.045)
            body = body - repeated(ring, [9, 9, 0.14], [1, 1, count]).moved([0, 0, middle])
    if chance(rng, 0.3):
        crank = rng.uniform(0.3, 0.6)
        web = extruded(capsule([0, 0], [crank, 0], 0.3), 0.2).moved([0, 0, z[-1] - 0.1])
        body = body | web | cylinder(0.16, 0.7).moved([crank, 0, z[-1] + 0.3])
    return body


def _housing(rng: np.random.Generator) -> Shape:
    """A box or drum, hollow and open or with a hatch, with a flange, bosses, ribs and bores."""
    sides, wall = rng.uniform([1, 0.8, 0.5], [1.8, 1.4, 1.2]), rng.uniform(0.1, 0.18)
    outline = box(sides[:2], rounding=rng.uniform(0.05, 0.35)) if chance(rng, 0.7) else sphere(float(sides[1]) / 2, 2)
    inner = rounded(outline, -wall)
    shape = extruded(outline, sides[2])
    if chance(rng, 0.6):
        shape = shape | extruded(rounded(outline, 0.15), 0.12).moved([0, 0, sides[2] / 2 - 0.06])
    if chance(rng, 0.5):
        shape = shape | box([sides[0] + 0.6, min(0.5, sides[1]), 0.14]).moved([0, 0, 0.07 - sides[2] / 2])
    if chance(rng, 0.4):
        shape = shape | repeated(box([0.1, sides[1] + 0.3, sides[2]]), [0.35, 9, 9], [int(sides[0] / 0.45), 1, 1])
    bosses = cylinder(0.16, sides[2]).moved([0, 0, wall / 3])
    pitch = [*(0.72 * np.ptp(outline.bounds, axis=0)), ENDLESS]
    bore = rng.uniform(0.15, 0.3)
    boss = cylinder(bore + WALL, sides[1] + 0.3).axes("xzy" if chance(rng) else "yzx")
    boss = boss.moved([0, 0, rng.uniform(-0.1, 0.1) * sides[2]])
    if bore + WALL < sides[2] / 2:
        shape = shape | boss
    shape = shape - extruded(inner, sides[2]).moved([0, 0, wall])
    if chance(rng, 0.5):
        shape = shape | (repeated(bosses, pitch, [2, 2, 1]) & extruded(outline, sides[2]))
        shape = shape - repeated(cylinder(0.07, 0.5), pitch, [2, 2, 1]).moved([0, 0, sides[2] / 2])
    axis = pick(rng, "xyz", "xzy", "yzx")
    shape = shape - cylinder(bore, ENDLESS).axes(axis)
    if chance(rng, 0.25):  # closed by a cover
        shape = shape | extruded(rounded(outline, 0.1), 0.14).moved([0, 0, sides[2] / 2])
    return shape


def _wheel(rng: np.random.Generator) -> Shape:
    """A pulley, a spoked wheel, a rope drum or a fan."""
    width, rim, hub = rng.uniform(0.25, 0.7), rng.uniform(0.12, 0.22), rng.uniform(0.2, 0.3)
    kind = rng.integers(4)
    if kind == 0:  # a grooved rim on a web
        groove = rng.uniform(0.1, 0.3)
        w = width / 2
        profile = polygon([[-1, -w], [1, -w], [1 - groove, -0.3 * w], [1 - groove, 0.3 * w], [1, w], [-1, w]])
        body = revolved(profile)
        side = (cylinder(0.6, width) - cylinder(hub, ENDLESS)).moved([0, 0, width * 0.75])
        body = body - side - side.rotated(np.diag([1.0, -1, -1]))
        body = body - cylinder(hub - WALL, ENDLESS)
        return body - _bolts(rng, hub, 0.6) if chance(rng) else body
    bored = cylinder(hub, width * rng.uniform(0.8, 1.6)) - cylinder(hub - WALL, ENDLESS)
    if kind == 1:  # a fan
        count = int(rng.integers(3, 8))
        tilt = rng.uniform(0.3, 0.9)
        blade = box([1, rng.uniform(0.3, 0.7), 0.09], rounding=0.04).rotated(about(0, tilt)).moved([0.6, 0, 0])
        blades = [blade.rotated(about(2, 2 * np.pi * i / count)) for i in range(count)]
        fan = joined([cylinder(hub, width), *blades]) - cylinder(hub - WALL, ENDLESS)
        return fan | (cylinder(1.15, width) - cylinder(1.05, ENDLESS)) if chance(rng, 0.4) else fan
    body = (torus(1 - rim, rim) if kind == 2 else cylinder(1, width) - cylinder(1 - rim, ENDLESS)) | bored
    count = int(rng.integers(3, 9))
    if chance(rng):
        spoke = box([1 - rim, rng.uniform(0.1, 0.2), min(width, rng.uniform(0.1, 0.3))])
    else:
        spoke = cylinder(rng.uniform(0.055, 0.09), 1 - rim).axes("yzx")
    spokes = around(spoke.moved([(1 - rim) / 2 + 0.05, 0, 0]), count) - cylinder(hub - WALL / 2, ENDLESS)
    return body | spokes


def _regular(count: int, radius: float) -> np.ndarray:
    """(count, 2) corners of a regular polygon."""
    angle = np.arange(count) * 2 * np.pi / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _lever(rng: np.random.Generator) -> Shape:
    """Bored bosses of several sizes joined by arms: a lever, a connecting rod, a link or a rocker."""
    count = pick(rng, 2, 2, 2, 3)
    heading, places = 0.0, [np.zeros(2)]
    for _ in range(count - 1):
        places.append(places[-1] + rng.uniform(0.8, 1.7) * np.array([np.cos(heading), np.sin(heading)]))
        heading += rng.uniform(-1.5, 1.5)
    radii = rng.uniform(0.18, 0.45, count)
    thick = rng.uniform(0.12, 0.25)
    parts = [cylinder(r, thick * rng.uniform(1, 3), pick(rng, 0, 0.03)).moved([*place, 0]) for r, place in zip(radii, places)]
    for i in range(count - 1):
        along = places[i + 1] - places[i]
        across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
        near, far = (rng.uniform(0.45, 0.9) * r * across for r in radii[i : i + 2])
        ends = np.array([places[i] - near, places[i + 1] - far, places[i + 1] + far, places[i] + near])
        arm = extruded(polygon(ends), thick)
        if chance(rng, 0.3):  # an I section
            slim = (ends - ends.mean(axis=0)) * 0.6 + ends.mean(axis=0)
            pocket = extruded(polygon(slim), thick).moved([0, 0, thick * 0.8])
            arm = arm - pocket - pocket.moved([0, 0, -1.6 * thick])
        parts.append(arm)
    shape = joined(parts, pick(rng, 0.0, 0.06))
    bores = [cylinder(r - rng.uniform(WALL, 0.6 * r) if r > 0.25 else 0.08, ENDLESS).moved([*place, 0]) for r, place in zip(radii, places)]
    return shape - joined(bores)


def _nut(rng: np.random.Generator) -> Shape:
    """A nut, a bolt, a wing nut or a cap with a knurled rim."""
    count = pick(rng, 4, 6, 6, 8)
    head = extruded(polygon(_regular(count, 1.0)), rng.uniform(0.5, 1.0))
    head = head & sphere(rng.uniform(1, 1.2))
    kind = rng.integers(4)
    if kind == 0:
        return head - cylinder(rng.uniform(0.35, 0.65), ENDLESS)
    if kind == 1:
        long, radius = rng.uniform(1.5, 4), rng.uniform(0.35, 0.55)
        rod = cylinder(radius, long).moved([0, 0, -long / 2])
        pitch = rng.uniform(0.25, 0.4)
        rings = repeated(torus(radius, pitch / 4), [9, 9, pitch], [1, 1, max(int(0.6 * long / pitch), 1)])
        return head | (rod - rings.moved([0, 0, -0.65 * long]))
    if kind == 2:
        wing = extruded(capsule([0.5, 0.3], [1.1, 0.8], rng.uniform(0.2, 0.35)), 0.2).axes("xzy")
        return (cylinder(0.5, 0.8) | wing | wing.rotated(about(2, np.pi))) - cylinder(0.3, ENDLESS)
    count = int(rng.integers(8, 17))
    knurled = cylinder(1, rng.uniform(0.5, 1)) - around(cylinder(0.12, ENDLESS).moved([1.02, 0, 0]), count)
    stem = cylinder(rng.uniform(0.2, 0.4), rng.uniform(0.6, 2)).moved([0, 0, rng.uniform(0, 0.3)])
    return (knurled - cylinder(0.75, 1).moved([0, 0, 0.5])) | stem


def _clamp(rng: np.random.Generator) -> Shape:
    """A split ring with ears, a C, or a fork."""
    outer, wall, width = 0.8, rng.uniform(0.12, 0.25), rng.uniform(0.3, 1.2)
    gap = rng.uniform(0.1, 0.3)
    kind = rng.integers(3)
    if kind == 0:
        ears = box([1.3 - outer + wall, gap + 0.4, width]).moved([outer + (1.3 - outer - wall) / 2, 0, 0])
        body = (cylinder(outer, width) | ears) - cylinder(outer - wall, ENDLESS) - box([2, gap, ENDLESS]).moved([1.2, 0, 0])
        return body - cylinder(min(0.12, width / 3), ENDLESS).axes("xzy").moved([1.08, 0, 0])
    if kind == 1:
        frame = box([2, 1.6, width * 0.5], 0.06) - box([1.8, 1.6 - 2 * wall - 0.2, ENDLESS], 0.1).moved([0.35, 0, 0])
        screw = cylinder(0.1, 1.4).axes("xzy").moved([0.75, 0.75, 0])
        knob = cylinder(0.22, 0.12).axes("xzy").moved([0.75, 0.1, 0])
        return frame | screw | knob | capsule([0.5, 1.4, 0], [1, 1.4, 0], 0.06)
    prong = box([1.2, 0.2, width * 0.6], 0.04)
    space = rng.uniform(0.3, 0.6)
    body = joined([prong.moved([0.6, space, 0]), prong.moved([0.6, -space, 0]), box([0.2, 2 * space + 0.2, width * 0.6], 0.04)])
    eye = cylinder(0.12, ENDLESS).axes("xzy").moved([1.0, 0, 0])
    return (body - eye) | capsule([0, 0, 0], [-rng.uniform(0.6, 1.4), 0, 0], rng.uniform(0.1, 0.18))
