"""The part of a mesh or a scan on one side of a plane, to look inside. Letters: V vertices, F faces, N points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from surfrecon.geometry import Mesh, PointCloud


def behind(item: Mesh | PointCloud, direction: np.ndarray, level: float) -> Mesh | PointCloud:
    """What lies where direction . x <= level: points as they are, faces cut along the plane, with what their corners carry.

    The cut stays open, and each face brings its own vertices along it: this is for looking at.

    Args:
        item: a mesh or a scan.
        direction: (3,) normal of the plane, of any length.
        level: of the plane, in units of that length.
    """
    if isinstance(item, PointCloud):
        return item[item.points @ direction <= level]
    height = item.vertices @ direction - level
    within = (height <= 0)[item.faces]
    count = within.sum(axis=1)
    one, two = (_turned(item.faces[count == k], within[count == k] == (k == 1)) for k in (1, 2))  # the corner that differs comes first
    start = np.concatenate([one[:, 0], one[:, 0], two[:, 0], two[:, 0]])
    end = np.concatenate([one[:, 1], one[:, 2], two[:, 1], two[:, 2]])
    share = height[start] / np.where(height[start] == height[end], 1, height[start] - height[end])
    rows = len(item.vertices) + np.arange(len(start))
    one_b, one_c, two_b, two_c = np.split(rows, np.cumsum([len(one), len(one), len(two)]))
    faces = [item.faces[count == 3], np.column_stack([one[:, 0], one_b, one_c])]
    faces += [np.column_stack([two_b, two[:, 1], two[:, 2]]), np.column_stack([two_b, two[:, 2], two_c])]

    def grown(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return np.concatenate([values, ((1 - weight) * values[start] + weight * values[end]).astype(values.dtype)])

    return replace(
        item,
        vertices=grown(item.vertices),
        faces=np.concatenate(faces),
        normals=grown(item.normals),
        colors=grown(item.colors),
        scalars={name: grown(values) for name, values in item.scalars.items()},
    )


def _turned(faces: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Faces (F, 3) turned so that the corner that a mask (F, 3) marks, one of each face, comes first."""
    first = mark.argmax(axis=1)
    return np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, axis=1)
