"""Animals and figures: a spine of balls, head, limbs, tail, ears, horns and wings of round cones, melted together, in many poses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from surfrecon.data_tools.families.draw import chance, direction, log_uniform, pick, rotation, upright, wavy
from surfrecon.data_tools.shapes import Shape, joined, round_cone, sphere

THINNEST = 0.042  # least radius of a part


def creatures(rng: np.random.Generator) -> Shape:
    """A creature with two, four or six limbs, or none. It faces +x and stands up along z before it is turned."""
    fat = log_uniform(rng, 0.7, 1.5)
    body, head_place, heading = _body(rng, fat)
    parts = [*body, *_head(rng, head_place, heading, fat)]
    blend = rng.uniform(0.05, 0.14)
    shape = joined(parts, blend)
    if chance(rng, 0.35):
        shape = wavy(rng, shape, 6, rng.uniform(0.2, 0.5), rng.uniform(0.008, 0.02))
    return shape.rotated(rotation(rng) if chance(rng, 0.3) else upright(rng, 0.15))


def _limb(rng: np.random.Generator, start: np.ndarray, aim: np.ndarray, reach: float, radius: float, pieces: int = 2) -> list[Shape]:
    """Pieces end to end, each bent a little from the one before and thinner; a hand or foot at the end."""
    parts, end_radius = [], max(radius * rng.uniform(0.45, 0.75), THINNEST)
    radii = np.linspace(radius, end_radius, pieces + 1)
    for i in range(pieces):
        aim = aim + rng.uniform(0.1, 0.7) * direction(rng)
        aim /= np.linalg.norm(aim)
        end = start + aim * reach / pieces
        parts.append(round_cone(start, end, radii[i], radii[i + 1]))
        start = end
    if chance(rng, 0.7):
        size = end_radius * rng.uniform(1, 1.6)
        toe = np.array([rng.uniform(0.5, 1.5), 0, -0.3]) * size
        parts.append(round_cone(start, start + toe, size, max(0.7 * size, THINNEST)))
    return parts


def _body(rng: np.random.Generator, fat: float) -> tuple[list[Shape], np.ndarray, np.ndarray]:
    """The parts of the trunk, limbs and tail; where the head goes, and which way the neck points."""
    kind = pick(rng, "four legs", "four legs", "upright", "upright", "bird", "fish", "worm", "insect")
    girth = 0.2 * fat
    if kind in ("four legs", "insect"):
        length = rng.uniform(0.6, 1.2)
        back = [np.array([x, 0, rng.uniform(-0.06, 0.06)]) for x in np.linspace(-length / 2, length / 2, 4)]
        radii = girth * rng.uniform(0.75, 1.25, 4)
        parts = [round_cone(a, b, r, s) for a, b, r, s in zip(back, back[1:], radii, radii[1:])]
        leg, reach = max(girth * rng.uniform(0.3, 0.5), THINNEST), rng.uniform(0.35, 0.9)
        spread = rng.uniform(0.1, 0.4) if kind == "four legs" else rng.uniform(0.8, 1.8)
        for place in np.linspace(0, 3, 2 if kind == "four legs" else 3).astype(int):
            for side in (1, -1):
                aim = np.array([rng.normal(0, 0.35), side * spread, -1.0])
                start = back[place] + np.array([0, side * 0.6, -0.3]) * radii[place]
                parts += _limb(rng, start, aim / np.linalg.norm(aim), reach, leg)
        parts += _tail(rng, back[0], np.array([-1, 0, rng.uniform(-0.5, 1)]), girth)
        return parts, back[3] + np.array([0.5, 0, 0.3]) * radii[3], np.array([1.0, 0, rng.uniform(-0.1, 1.5)])
    if kind == "upright":
        height = rng.uniform(0.5, 0.9)
        lean = rng.uniform(-0.15, 0.25)
        spine = [np.array([lean * s, 0, s * height]) for s in (0, 0.5, 1)]
        radii = girth * rng.uniform([0.8, 0.8, 0.7], [1.3, 1.2, 1.1])
        parts = [round_cone(a, b, r, s) for a, b, r, s in zip(spine, spine[1:], radii, radii[1:])]
        wide = girth * rng.uniform(0.7, 1.3)
        parts.append(round_cone(spine[2] - [0, wide, 0], spine[2] + [0, wide, 0], 0.5 * girth, 0.5 * girth))
        arm, leg = max(0.35 * girth, THINNEST), max(girth * rng.uniform(0.4, 0.6), THINNEST)
        sitting = chance(rng, 0.25)
        for side in (1, -1):
            aim = np.array([rng.uniform(-0.3, 1), side * rng.uniform(0.2, 1.2), rng.uniform(-1, 1)])
            parts += _limb(rng, spine[2] + [0, side * wide, 0], aim / np.linalg.norm(aim), rng.uniform(0.5, 0.9), arm)
            aim = np.array([1.0 if sitting else rng.normal(0, 0.3), side * rng.uniform(0.1, 0.6), -0.2 if sitting else -1.0])
            parts += _limb(rng, spine[0] + [0, side * 0.6 * girth, 0], aim / np.linalg.norm(aim), rng.uniform(0.5, 1), leg)
        if chance(rng, 0.3):
            parts += _tail(rng, spine[0], np.array([-1, 0, 0.0]), girth)
        return parts, spine[2] + [0, 0, 0.3 * girth], np.array([0.2, 0, 1])
    if kind == "bird":
        tip = np.array([-0.5, 0, rng.uniform(-0.2, 0.2)])
        end = tip + np.array([-0.35, 0, 0.1])
        parts = [round_cone([0, 0, 0], tip, 1.2 * girth, 0.5 * girth), round_cone(tip, end, 0.4 * girth, 0.5 * girth)]
        for side in (1, -1):
            lift = rng.uniform(-0.2, 0.9)
            elbow = np.array([-0.05, side * 0.35, 0.35 * lift])
            hand = elbow + np.array([-0.3, side * rng.uniform(0.25, 0.6), rng.uniform(-0.3, 0.3)])
            root = np.array([0, side * 0.1, 0.02])
            for back in np.array([[0, 0, 0], [-0.1, 0, 0], [-0.2, 0, 0], [-0.3, 0, 0]]):  # feathers side by side make a wing
                parts.append(round_cone(root + back, elbow + back, 0.07, 0.06))
                parts.append(round_cone(elbow + back, hand + 0.6 * back, 0.06, THINNEST))
            hip = np.array([-0.15, side * 0.5 * girth, -0.7 * girth])
            parts += _limb(rng, hip, np.array([0.1, 0, -1.0]), rng.uniform(0.3, 0.6), THINNEST * 1.2)
        return parts, np.array([0.5, 0, 0.5]) * girth, np.array([0.6, 0, rng.uniform(0.3, 1.2)])
    # A fish or a worm: balls along a winding spine.
    count = 9
    s = np.linspace(0, 1, count)
    sway = rng.uniform(0.02, 0.12) if kind == "fish" else rng.uniform(0.1, 0.3)
    turns = rng.uniform(2, 8)
    spine = np.stack([1.6 * (s - 0.5), sway * np.sin(turns * s + rng.uniform(0, 6)), sway * 0.5 * np.cos(turns * s)], axis=1)
    shape = np.sin(np.pi * (0.08 + 0.8 * s)) if kind == "fish" else rng.uniform(0.35, 0.6) + 0.12 * np.cos(6 * np.pi * s)
    radii = np.maximum(1.3 * girth * shape, THINNEST * 1.2)
    parts = [round_cone(a, b, r, q) for a, b, r, q in zip(spine, spine[1:], radii, radii[1:])]
    if kind == "fish":
        fins = [(0, [-0.3, 0, 0.3]), (0, [-0.3, 0, -0.3]), (4, [-0.2, 0, 0.35]), (3, [-0.2, 0.3, -0.1]), (3, [-0.2, -0.3, -0.1])]
        for place, aim in fins:
            tip = np.asarray(aim) * rng.uniform(0.6, 1.3)
            root = spine[place] + tip / np.linalg.norm(tip) * radii[place] * 0.7
            for ahead in np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]]):
                parts.append(round_cone(root + ahead, root + tip + ahead / 2, 0.055, THINNEST))
    elif chance(rng, 0.6):
        for i in range(1, count, 2):
            for side in (1, -1):
                parts += _limb(rng, spine[i], np.array([0, side, -0.6]) / np.hypot(1, 0.6), radii[i] + 0.2, THINNEST * 1.1, 1)
    return parts, spine[-1], spine[-1] - spine[-2]


def _tail(rng: np.random.Generator, start: np.ndarray, aim: np.ndarray, girth: float) -> list[Shape]:
    reach = pick(rng, 0.0, rng.uniform(0.15, 0.3), rng.uniform(0.4, 1))
    if not reach:
        return []
    parts, radius = [], girth * rng.uniform(0.25, 0.7)
    aim, curl = aim / np.linalg.norm(aim), 0.6 * direction(rng)
    radii = np.maximum(np.linspace(radius, rng.uniform(0.2, 1) * radius, 6), THINNEST)
    start = start + aim * girth * 0.6
    for r, s in pairwise(radii):
        aim = aim + curl * 0.5
        aim /= np.linalg.norm(aim)
        parts.append(round_cone(start, start + aim * reach / 5, r, s))
        start = start + aim * reach / 5
    return parts


def _head(rng: np.random.Generator, place: np.ndarray, aim: np.ndarray, fat: float) -> list[Shape]:
    """A neck, a head, a snout, and ears, horns, a crest or eyes, all in pairs."""
    aim = aim / np.linalg.norm(aim)
    size, neck = rng.uniform(0.13, 0.26), pick(rng, 0.12, rng.uniform(0.15, 0.5))
    centre = place + aim * (neck + 0.6 * size)
    parts = [round_cone(place, centre, max(0.11 * fat, THINNEST), max(0.1 * fat, THINNEST))]
    turn = rng.uniform(-0.6, 0.6)
    face = np.array([np.cos(turn), np.sin(turn), rng.uniform(-0.4, 0.2)])
    face /= np.linalg.norm(face)
    side = np.array([-np.sin(turn), np.cos(turn), 0])
    up = np.cross(face, side)
    parts.append(round_cone(centre - 0.3 * size * face, centre + 0.3 * size * face, size, size * rng.uniform(0.7, 1)))
    if chance(rng, 0.8):
        snout = rng.uniform(0.5, 1.6) * size
        parts.append(round_cone(centre, centre + face * (size + snout), 0.6 * size, max(rng.uniform(0.2, 0.5) * size, THINNEST)))
        if chance(rng, 0.2):  # an open mouth
            jaw = centre + face * (size + 0.8 * snout) - (0.6 * size + 0.08) * up
            parts.append(round_cone(centre - 0.5 * size * up, jaw, 0.4 * size, THINNEST))
    kind = rng.integers(4)
    for sign in (1, -1):
        root = centre + 0.75 * size * (0.6 * sign * side + 0.8 * up)
        if kind <= 1:  # ears: short, long, upright or hanging
            tip = root + rng.uniform(0.3, 1.8) * size * (sign * rng.uniform(0.2, 1) * side + rng.uniform(-0.3, 1) * up + 0.05)
            parts.append(round_cone(root, tip, max(0.3 * size, THINNEST), THINNEST if chance(rng) else max(0.3 * size, THINNEST)))
        elif kind == 2:  # horns
            middle = root + size * (0.5 * sign * side + 0.5 * up)
            tip = middle + size * rng.uniform(0.3, 1.2) * (0.1 * sign * side + up + rng.uniform(-0.5, 0.8) * face)
            parts += [round_cone(root, middle, 0.06, 0.05), round_cone(middle, tip, 0.05, THINNEST)]
        if chance(rng, 0.5):
            parts.append(sphere(max(0.25 * size, THINNEST)).moved(centre + size * (0.6 * face + 0.5 * sign * side + 0.35 * up)))
    return parts
