"""Between the columns of a file and what PointCloud and Mesh hold: names, colour ranges, unit normals, rows that aren't numbers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io.rounding import float32_loses, longest_side, needs_double

log = logging.getLogger("surfrecon")

# The names we write come first; the others are read as well, whatever their case.
VECTORS = {
    "points": (("x", "y", "z"), ("easting", "northing", "elevation"), ("easting", "northing", "height")),
    "normals": (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z")),
    "colors": (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue")),
    "origins": (("origin_x", "origin_y", "origin_z"),),
}
WRITTEN = {name for spellings in VECTORS.values() for name in spellings[0]}
FLOAT_TOP = 1.01  # floats up to here are colours in [0, 1] that rounding or a blend carried over the edge, not dark ones of 0 to 255
UNIT_TOLERANCE = 1e-5  # a normal this close to unit length is left as it is: dividing would only stir its last digits


def from_columns(columns: Mapping[str, np.ndarray]) -> dict:
    """`points`, `normals`, `colors` and `origins` (N, 3) as far as the columns name them, and the remaining columns as `scalars`."""
    by_name = {name.lower(): name for name in reversed(columns)}
    parts, used = {}, set()
    for part, spellings in VECTORS.items():
        for spelling in spellings:
            names = [by_name.get(name) for name in spelling]
            if None not in names:
                parts[part] = np.column_stack([columns[name] for name in names])
                used.update(names)
                break
    parts["scalars"] = {name: column for name, column in columns.items() if name not in used}
    return parts


def scan(path: Path, *, points: np.ndarray, normals=None, colors=None, origins=None, scalars=None, crs=None, unit=None) -> PointCloud:
    """A PointCloud of a file's raw values: normals made unit, colours brought to [0, 1], points that aren't finite left out.

    Raises:
        InputError: no points, or half of them and more aren't finite.
    """
    if not len(points):
        raise InputError("it holds no points")
    finite = np.isfinite(points)
    bad = 0 if finite.all() else len(points) - int(finite.all(axis=1).sum())  # row by row takes ten times as long
    if 2 * bad >= len(points):
        raise InputError(f"{bad} of its {len(points)} points are NaN or infinite: too few are left to be a scan")
    rows = slice(None)
    if bad:
        log.warning("%s: left out %d of %d points that are NaN or infinite", path.name, bad, len(points))
        rows = finite.all(axis=1)
    pick = lambda value: None if value is None else value[rows]
    if origins is not None and not np.isfinite(origins[rows]).all():
        log.warning("%s: left out the sensor origins, some are NaN or infinite", path.name)
        origins = None
    return PointCloud(
        points[rows],
        normals=unit_normals(path, pick(normals)),
        colors=srgb(path, pick(colors)),
        scalars={name: native(value[rows]) for name, value in (scalars or {}).items()},
        origins=pick(origins),
        crs=crs,
        unit=unit,
    )


def mesh(path: Path, faces: np.ndarray, *, points: np.ndarray, normals=None, colors=None, origins=None, scalars=None, **known) -> Mesh:
    """A Mesh of a file's raw values, like `scan`; sensor origins have no place in it. What is `known` besides: crs, unit."""
    scalars = {name: native(value) for name, value in (scalars or {}).items()}
    return Mesh(points, faces, normals=unit_normals(path, normals), colors=srgb(path, colors), scalars=scalars, **known)


def native(column: np.ndarray) -> np.ndarray:
    """The same numbers, contiguous and in this machine's byte order."""
    return np.ascontiguousarray(column, column.dtype.newbyteorder("="))


def unit_normals(path: Path, normals: np.ndarray | None) -> np.ndarray | None:
    """Normals of length one; zero ("unknown") where the file has zero or no number; None where all are."""
    if normals is None:
        return None
    normals = np.array(normals, float)
    normals[~np.isfinite(normals).all(axis=1)] = 0
    length = np.linalg.norm(normals, axis=1)
    if not length.any():
        log.info("%s: left out the normals, all are zero", path.name)
        return None
    off = (np.abs(length - 1) > UNIT_TOLERANCE) & (length > 0)
    normals[off] /= length[off, None]
    return normals


def srgb(path: Path, colors: np.ndarray | None) -> np.ndarray | None:
    """(N, 3) float32 colours in [0, 1] of 8 bit, 16 bit or float values; 8 bit values are known by their range, whatever their type."""
    if colors is None or not colors.size:
        return None
    top = 1.0
    if colors.dtype.kind == "f":
        if not np.isfinite(colors).all():
            log.warning("%s: colours that are NaN or infinite become black", path.name)
            colors = np.where(np.isfinite(colors), colors, 0)
        if colors.max() > FLOAT_TOP:
            log.info("%s: colours are floats above 1, taken as 0 to 255", path.name)
    if colors.dtype.kind != "f" or colors.max() > FLOAT_TOP:
        top = 255.0 if colors.max() <= 255 else 65535.0
    return np.clip(colors / np.float32(top), 0, 1).astype(np.float32)


def columns_of(item: PointCloud | Mesh) -> dict[str, np.ndarray]:
    """The columns that hold a scan or the vertices of a mesh, in the types they are stored in.

    Positions are float64 where float32 would cost too much (see rounding.py), colours uint8, scalars as they are.
    """
    points = item.points if isinstance(item, PointCloud) else item.vertices
    columns = dict(zip(VECTORS["points"][0], points.astype(np.float64 if needs_double(points) else np.float32).T))
    if item.normals is not None:
        columns.update(zip(VECTORS["normals"][0], item.normals.astype(np.float32).T))
    if item.colors is not None:
        columns.update(zip(VECTORS["colors"][0], eight_bit(item.colors).T))
    origins = item.origins if isinstance(item, PointCloud) else None
    if origins is not None:
        dtype = np.float64 if float32_loses(origins, longest_side(points)) else np.float32
        columns.update(zip(VECTORS["origins"][0], origins.astype(dtype).T))
    return columns | dict(zip(free_names(item.scalars, taken=WRITTEN), item.scalars.values()))


def eight_bit(colors: np.ndarray) -> np.ndarray:
    return np.round(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def free_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Each name spelt in letters, digits and underscores, made different from those before it and those taken."""
    taken, result = set(taken), []
    for name in names:
        name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "field"
        while name.lower() in taken:
            name = f"scalar_{name}"
        taken.add(name.lower())
        result.append(name)
    return result


def left_out(mesh: Mesh, form: str, *kept: str) -> list[str]:
    """The sentence that says what of a mesh a format has no place for, if anything."""
    carried = {"normals": mesh.normals, "colors": mesh.colors, "scalars": mesh.scalars or None, "crs": mesh.crs, "unit": mesh.unit}
    words = {"colors": "colours", "scalars": f"scalar fields ({', '.join(mesh.scalars)})", "crs": "coordinate reference system"}
    lost = [words.get(part, part) for part, value in carried.items() if value is not None and part not in kept]
    return [f"{form} has no place for the {', '.join(lost)}: write PLY or GLB to keep what the mesh carries"] if lost else []
