"""Furniture in metres: it stands on z = 0, its back towards +y, centred about the z axis."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from surfrecon.data_tools.families.blocks import cone
from surfrecon.data_tools.families.draw import chance, log_uniform, pick, rotation, upright
from surfrecon.data_tools.profiles import extruded, polygon, revolved, stroke
from surfrecon.data_tools.shapes import Shape, box, capsule, cylinder, joined, round_cone, sphere

LEG = 0.028  # least width of a leg, of the piece's longest side


def slab(low, high, rounding: float = 0.0) -> Shape:
    """A box from one corner to the opposite one."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    return box(high - low, rounding).moved((low + high) / 2)


def _legs(rng: np.random.Generator, width: float, depth: float, height: float, thick: float) -> list[Shape]:
    """Four legs under the corners of a rectangle: square, round, tapered or splayed, some with stretchers."""
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    corners = [(x, y), (x, -y), (-x, y), (-x, -y)]
    kind = rng.integers(4)
    if kind == 0:
        legs = [slab([a - thick / 2, b - thick / 2, 0], [a + thick / 2, b + thick / 2, height]) for a, b in corners]
    elif kind == 1:
        legs = [cylinder(thick / 2, height).moved([a, b, height / 2]) for a, b in corners]
    else:
        inset, foot = pick(rng, 0.85, 0.6) if kind == 3 else 1, rng.uniform(0.5, 0.8)
        legs = [round_cone([a, b, thick / 2], [a * inset, b * inset, height - thick / 2], thick * foot, thick * 0.8) for a, b in corners]
    if kind < 2 and chance(rng, 0.4):  # stretchers
        z = rng.uniform(0.15, 0.5) * height
        legs += [slab([s * x - thick / 2, -y, z], [s * x + thick / 2, y, z + thick]) for s in (-1, 1)]
        legs.append(slab([-x, -thick / 2, z], [x, thick / 2, z + thick]))
    return legs


def table(rng: np.random.Generator) -> Shape:
    """A table, desk or coffee table, with a rectangular or round top."""
    width, height = log_uniform(rng, 0.5, 2.0), pick(rng, rng.uniform(0.68, 0.8), rng.uniform(0.35, 0.5), rng.uniform(0.9, 1.1))
    depth = width * rng.uniform(0.45, 1)
    thick = max(rng.uniform(0.03, 0.07), LEG * max(width, height))
    top = rng.uniform(1, 1.6) * thick
    round_top = chance(rng, 0.3)
    if round_top:
        depth = width
        plate = cylinder(width / 2, top)
    else:
        plate = box([width, depth, top], pick(rng, 0, 0, 0.3) * top)
    parts = [plate.moved([0, 0, height - top / 2])]
    kind = rng.integers(4)
    inner = 0.66 if round_top else rng.uniform(0.85, 1)
    if kind == 0 or (kind == 1 and not round_top):
        parts += _legs(rng, inner * width, inner * depth, height - top / 2, thick)
    elif kind == 1 or (kind == 2 and round_top):  # a column on a foot
        parts.append(cylinder(1.2 * thick, height).moved([0, 0, height / 2]))
        foot = rng.uniform(0.5, 0.8) * depth
        parts.append(cone(foot / 2, foot / 3, thick * 1.4).moved([0, 0, thick * 0.7]))
        parts[1] = parts[1] & slab([-9, -9, 0], [9, 9, height])
    elif kind == 2:  # panels
        x = width / 2 - thick / 2
        parts += [slab([s * x - thick / 2, -depth / 2, 0], [s * x + thick / 2, depth / 2, height - top / 2]) for s in (-1, 1)]
        parts.append(slab([-x, depth / 2 - 2 * thick, 0.4 * height], [x, depth / 2 - thick, height - top / 2]))
    else:  # a frame
        parts += _legs(rng, inner * width, inner * depth, height - top / 2, thick)
        w, d = inner * width / 2, inner * depth / 2
        apron = extruded(box([2 * w, 2 * d]) - box([2 * (w - thick), 2 * (d - thick)]), 0.12 * height + thick)
        parts.append(apron.moved([0, 0, height - top - 0.06 * height]))
    return joined(parts)


def chair(rng: np.random.Generator) -> Shape:
    """A chair, armchair or bar stool with a back."""
    width, depth, seat = rng.uniform(0.38, 0.55), rng.uniform(0.38, 0.55), pick(rng, rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.5), 0.7)
    back = seat + rng.uniform(0.3, 0.65)
    thick = max(rng.uniform(0.03, 0.05), LEG * back)
    pad = rng.uniform(1.0, 2.0) * thick
    parts = [slab([-width / 2, -depth / 2, seat - pad], [width / 2, depth / 2, seat], pick(rng, 0, 0.4) * pad)]
    if chance(rng, 0.75):
        parts += _legs(rng, width, depth, seat - pad / 2, thick)
    elif chance(rng):  # an office chair
        parts.append(cylinder(thick, seat - pad / 2).moved([0, 0, (seat - pad / 2) / 2]))
        star = np.linspace(0, 2 * np.pi, 6)[:5]
        parts += [capsule([0, 0, thick], [0.3 * np.cos(a), 0.3 * np.sin(a), thick], 0.8 * thick) for a in star]
    else:  # a cantilever or skids
        for s in (-1, 1):
            x = s * (width / 2 - thick / 2)
            line = [[depth / 2, seat - pad / 2], [-depth / 2, seat - pad / 2], [-depth / 2, thick / 2], [depth / 2, thick / 2]]
            parts.append(extruded(stroke(line, thick), thick).axes("yzx").moved([x, 0, 0]))
        parts.append(slab([-width / 2, depth / 2 - thick, 0], [width / 2, depth / 2, thick]))
    lean = rng.uniform(0, 0.12)
    y = depth / 2 - thick / 2
    kind = rng.integers(3)
    if kind == 0:  # a panel
        near, far, low = y - thick / 2, y + thick / 2, seat - pad
        panel = polygon([[near, low], [far, low], [far + lean, back], [near + lean, back]])
        parts.append(extruded(panel, width * rng.uniform(0.8, 1)).axes("yzx"))
    else:
        posts = [-width / 2 + thick / 2, width / 2 - thick / 2]
        parts += [capsule([x, y, seat - pad / 2], [x, y + lean, back], thick / 2) for x in posts]
        if kind == 1:  # rails
            for share in np.linspace(rng.uniform(0.3, 0.6), 1, int(rng.integers(2, 5))):
                z, at = seat + share * (back - seat), y + share * lean
                parts.append(slab([posts[0], at - thick / 2, z - 0.06], [posts[1], at + thick / 2, z]))
        else:  # spindles
            parts.append(slab([posts[0], y + lean - thick / 2, back - 1.5 * thick], [posts[1], y + lean + thick / 2, back]))
            for x in np.linspace(*posts, int(rng.integers(4, 6)))[1:-1]:
                parts.append(capsule([x, y, seat - pad / 2], [x, y + lean, back - thick / 2], thick / 2))
    if chance(rng, 0.3):
        z = seat + rng.uniform(0.18, 0.25)
        for s in (-1, 1):
            x = s * (width / 2 - thick / 2)
            parts.append(slab([x - thick / 2, -depth / 2, z], [x + thick / 2, y + lean * 0.5, z + thick]))
            parts.append(slab([x - thick / 2, -depth / 2, seat - pad], [x + thick / 2, -depth / 2 + thick, z + thick]))
    return joined(parts)


def stool(rng: np.random.Generator) -> Shape:
    """A stool or bench without a back, or a pouffe."""
    height = rng.uniform(0.35, 0.75)
    if chance(rng, 0.25):
        radius = rng.uniform(0.22, 0.4)
        return cylinder(radius, height * 0.7, 0.06).moved([0, 0, height * 0.35])
    width = pick(rng, rng.uniform(0.3, 0.45), rng.uniform(0.8, 1.5))
    depth = min(width, rng.uniform(0.28, 0.42))
    thick = max(rng.uniform(0.03, 0.055), LEG * max(width, height))
    round_top = width < 0.5 and chance(rng)
    top = cylinder(width / 2, thick * 1.3) if round_top else box([width, depth, thick * 1.3])
    if round_top:
        return joined([top.moved([0, 0, height - 0.65 * thick]), *_legs(rng, 0.7 * width, 0.7 * width, height - 0.65 * thick, thick)])
    return joined([top.moved([0, 0, height - 0.65 * thick]), *_legs(rng, width, depth, height - 0.65 * thick, thick)])


def shelf(rng: np.random.Generator) -> Shape:
    """Open boards between sides, with or without a back, some with a middle wall or with books."""
    width, depth, height = rng.uniform(0.4, 1.8), rng.uniform(0.25, 0.45), rng.uniform(0.6, 2.2)
    board = max(rng.uniform(0.025, 0.05), LEG * max(width, height))
    x = width / 2 - board / 2
    count = int(np.clip(rng.integers(2, 7), 2, height / 0.25))
    low = rng.uniform(0, 0.15)
    levels = np.linspace(low + board / 2, height - board / 2, count)
    parts = [slab([-width / 2, -depth / 2, z - board / 2], [width / 2, depth / 2, z + board / 2]) for z in levels]
    if chance(rng, 0.75):
        parts += [slab([s * x - board / 2, -depth / 2, 0], [s * x + board / 2, depth / 2, height]) for s in (-1, 1)]
    else:
        post, y = box([board, board, height]), (depth - board) / 2
        parts += [post.moved([a, b, height / 2]) for a in (-x, x) for b in (-y, y)]
    if chance(rng, 0.4):
        parts.append(slab([-width / 2, depth / 2 - board, low], [width / 2, depth / 2, height]))
    for place in rng.uniform(-0.3, 0.3, rng.integers(0, 3)) * width:
        parts.append(slab([place - board / 2, -depth / 2, low], [place + board / 2, depth / 2, height]))
    if chance(rng, 0.4):
        for low_z, high_z in pairwise(levels):
            start, wide = rng.uniform(-0.45, 0.2) * width, rng.uniform(0.1, 0.3) * width
            top = low_z + rng.uniform(0.5, 0.85) * (high_z - low_z)
            parts.append(slab([start, -0.2 * depth, low_z], [start + wide, 0.4 * depth, top]))
    return joined(parts)


def sofa(rng: np.random.Generator) -> Shape:
    """A sofa or armchair: a seat of cushions between arms, before a back; some L-shaped."""
    width, depth = pick(rng, rng.uniform(0.75, 1.1), rng.uniform(1.4, 2.4)), rng.uniform(0.75, 1)
    seat, back, arm = rng.uniform(0.38, 0.48), rng.uniform(0.7, 1), rng.uniform(0.12, 0.25)
    foot = pick(rng, 0.0, 0.08, 0.15)
    soft = rng.uniform(0.02, 0.05)
    rise = rng.uniform(0.1, 0.25)
    parts = [
        slab([-width / 2, -depth / 2, foot], [width / 2, depth / 2, seat - 0.1], soft),
        slab([-width / 2, depth / 2 - 0.22, foot], [width / 2, depth / 2, back], 2 * soft),
    ]
    has_arms = chance(rng, 0.85)
    inner = width / 2 - (arm if has_arms else 0)
    if has_arms:
        for s in (-1, 1):
            low, high = sorted([s * width / 2, s * (width / 2 - arm)])
            parts.append(slab([low, -depth / 2, foot], [high, depth / 2, seat + rise], soft))
    cushions = max(round(2 * inner / 0.65), 1)
    edges = np.linspace(-inner, inner, cushions + 1)
    for a, b in pairwise(edges):
        parts.append(slab([a + 0.005, -depth / 2 - 0.02, seat - 0.14], [b - 0.005, depth / 2 - 0.2, seat + 0.02], 0.05))
        if chance(rng, 0.7):
            parts.append(slab([a + 0.02, depth / 2 - 0.36, seat - 0.02], [b - 0.02, depth / 2 - 0.18, back - 0.05], 0.06))
    corner = pick(rng, -1, 1) if width > 1.8 and chance(rng, 0.35) else 0
    if corner:
        low, high = sorted([corner * width / 2, corner * (width / 2 - 0.75)])
        parts.append(slab([low, -depth / 2 - 0.7, foot], [high, 0, seat], soft))
    if foot:
        leg = max(0.06, 1.3 * LEG * width)
        x, y = width / 2 - leg, depth / 2 - leg
        parts += [slab([a - leg / 2, b - leg / 2, 0], [a + leg / 2, b + leg / 2, foot + 0.05]) for a in (-x, x) for b in (-y, y)]
        if corner:
            x = corner * (width / 2 - 0.375)
            parts.append(slab([x - leg / 2, -depth / 2 - 0.65, 0], [x + leg / 2, -depth / 2 - 0.65 + leg, foot + 0.05]))
    return joined(parts)


def bed(rng: np.random.Generator) -> Shape:
    """A bed with a headboard, pillows and a blanket; or a mattress on legs."""
    width, length, height = rng.uniform(0.8, 1.9), rng.uniform(1.8, 2.2), rng.uniform(0.35, 0.55)
    w, d = width / 2, length / 2
    frame, leg = 0.12, max(0.06, 1.2 * LEG * length)
    parts = [
        slab([-w, -d, height - 0.2 - frame], [w, d, height - 0.18]),
        slab([-w + 0.02, -d + 0.02, height - 0.25], [w - 0.02, d - 0.06, height], 0.05),
    ]
    low = 0.0 if chance(rng, 0.3) else height - 0.2
    if low:
        post, x, y = box([leg, leg, height - 0.2]), w - leg, d - leg
        parts += [post.moved([a, b, height / 2 - 0.1]) for a in (-x, x) for b in (-y, y)]
    else:
        parts.append(slab([-w, -d, 0], [w, d, height - 0.2]))
    if chance(rng, 0.75):
        thick = max(rng.uniform(0.06, 0.12), LEG * length)
        parts.append(slab([-w, d - thick, 0], [w, d, height + rng.uniform(0.2, 0.7)], pick(rng, 0, 0.02)))
        if chance(rng, 0.3):
            parts.append(slab([-w, -d, 0], [w, -d + thick, height + rng.uniform(0.05, 0.25)]))
    count = 2 if width > 1.3 else 1
    for i in range(count):
        x = (i - (count - 1) / 2) * width / 2
        parts.append(slab([x - 0.3, d - 0.55, height - 0.05], [x + 0.3, d - 0.15, height + 0.1], 0.07))
    if chance(rng):
        parts.append(slab([-w, -d, height - 0.2], [w, d - rng.uniform(0.7, 1.1), height + 0.06], 0.05))
    return joined(parts)


def lamp(rng: np.random.Generator) -> Shape:
    """A floor or table lamp: a foot, a pole, straight or bent, and a shade."""
    height = pick(rng, rng.uniform(0.35, 0.7), rng.uniform(1.2, 1.8))
    pole = max(0.018, 0.5 * LEG * height) * rng.uniform(1, 1.5)
    foot, high = height * rng.uniform(0.1, 0.2), height * rng.uniform(0.15, 0.3)
    reach = foot * rng.uniform(0.9, 1.3)
    parts = [cylinder(foot, 2 * pole).moved([0, 0, pole])]
    if chance(rng, 0.7):
        top = np.array([0, 0, height - high])
        parts.append(capsule([0, 0, pole], top, pole))
    else:  # an arm that leans over
        angle = np.linspace(0, rng.uniform(1, 2), 8)
        arc = height * 0.35
        line = np.stack([arc * (1 - np.cos(angle)), 0 * angle, 0.6 * height + arc * np.sin(angle)], axis=1)
        parts.append(capsule([0, 0, pole], line[0], pole))
        parts += [capsule(a, b, pole) for a, b in pairwise(line)]
        top = line[-1] - [0, 0, high * 0.7]
    kind = rng.integers(3)
    if kind == 0:
        shade = sphere(reach)
        shade = shade.moved([0, 0, max(reach, high / 2)])
    else:
        wall = 1.2 * LEG * height
        low, up = reach, reach * rng.uniform(0.4, 1)
        profile = stroke([[low, 0], [up, high]], wall)
        bridge = box([2 * up, wall]).moved([0, high * 0.9])
        shade = revolved(profile | bridge)
        parts.append(capsule(top, top + np.array([0, 0, high * 0.9]), pole))
    return joined([*parts, shade.moved(top)])


def cabinet(rng: np.random.Generator) -> Shape:
    """A cupboard, chest of drawers, wardrobe or sideboard; fronts stand out and have handles, some doors are missing."""
    width, depth, height = rng.uniform(0.4, 1.8), rng.uniform(0.35, 0.65), pick(rng, rng.uniform(0.5, 1), rng.uniform(1.6, 2.2))
    scale = max(width, height)
    foot = pick(rng, 0.0, 0.08, 0.15)
    parts = [slab([-width / 2, -depth / 2, foot], [width / 2, depth / 2, height])]
    gap, front = 0.02 * scale, 0.022 * scale
    columns, rows = int(np.clip(round(width / 0.5), 1, 3)), int(rng.integers(1, 5))
    xs, zs = np.linspace(-width / 2, width / 2, columns + 1), np.linspace(foot, height, rows + 1)
    hollows = []
    for a, b in pairwise(xs):
        for c, d in pairwise(zs):
            if chance(rng, 0.2):
                wall = LEG * scale
                hollows.append(slab([a + wall, -depth, c + wall], [b - wall, depth / 2 - wall, d - wall]))
                continue
            parts.append(slab([a + gap, -depth / 2 - front, c + gap], [b - gap, 0, d - gap]))
            knob, y = 0.018 * scale, -depth / 2 - front
            if chance(rng, 0.5):
                parts.append(sphere(knob).moved([(a + b) / 2, y - knob / 2, (c + d) / 2]))
            else:
                half = 0.2 * (b - a)
                parts.append(capsule([(a + b) / 2 - half, y, (c + d) / 2], [(a + b) / 2 + half, y, (c + d) / 2], knob))
    if foot:
        leg = max(0.05, LEG * scale)
        x, y = width / 2 - leg, depth / 2 - leg
        parts += [slab([a - leg / 2, b - leg / 2, 0], [a + leg / 2, b + leg / 2, foot + 0.02]) for a in (-x, x) for b in (-y, y)]
    shape = joined(parts)
    return shape - joined(hollows) if hollows else shape


PIECES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "table": table,
    "chair": chair,
    "stool": stool,
    "shelf": shelf,
    "sofa": sofa,
    "bed": bed,
    "lamp": lamp,
    "cabinet": cabinet,
}


def furniture(rng: np.random.Generator) -> Shape:
    """A piece of furniture."""
    piece = PIECES[pick(rng, *PIECES)](rng)
    return piece.rotated(rotation(rng) if chance(rng, 0.15) else upright(rng))
