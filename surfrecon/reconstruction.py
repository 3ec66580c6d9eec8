"""From a scan or photographs to a watertight mesh in their own frame: the whole data path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.appearance import colored
from surfrecon.checkpoints import Checkpoints, remembered
from surfrecon.errors import InputError
from surfrecon.extract import marching_cubes
from surfrecon.fields import Field
from surfrecon.geometry import Mesh, PointCloud, Similarity, check_extent, directions_around
from surfrecon.handles import without_small_handles
from surfrecon.local_surfaces import local_surfaces
from surfrecon.methods import METHODS, fitted, given, method_class, methods_for, stages
from surfrecon.orientation import orient
from surfrecon.outliers import outlying
from surfrecon.rendering import pixel_width
from surfrecon.repair import MeshReport, inspect, supported, trim
from surfrecon.rigid_motion import rigid_motion
from surfrecon.run import Run
from surfrecon.sharpen import sharpen
from surfrecon.stereo import stereo_cloud
from surfrecon.thinning import FINEST, thinned
from surfrecon.views import Scan, Views

NEIGHBOURS = 4  # points that a vertex takes colours and scalars from
CONFIDENT_SPACINGS = 3.0  # a vertex this many spacings from the nearest point has confidence exp(-1)
TRIM_SPACINGS = 4.0  # surface further than this from every point was not scanned
HANDLE_SPACINGS = 2 * np.pi  # a hole two spacings wide can't be told from a gap between points, nor a bridge from a stray one
OPEN_SHARE = 0.15  # a scan is judged open when this share of the closed surface was not scanned
CELLS_PER_SPACING = 1.0
LEAST_LOOKED_AT, LOOKED_AT = 100, 3000  # points that are enough to see whether a side is missing; a thousand miss thin parts
SHEET = 0.85  # mean square of the normals' parts along one axis: above it they belong to a sheet
SIDE_MISSING = (0.13, 0.7)  # area that wasn't scanned, as a vector, over the area that was: between these a network helps
ENOUGH_POINTS = 50_000  # that photographs agree on: their errors are of the size of pixels, and means of them are better than all of them
POINT_ARRAYS = ("points", "normals", "colors", "origins")  # of a cloud that photographs agree on
SECONDS_PER_CELL, BYTES_PER_CELL = 3e-5, 1e3  # of extracting and checking, on two cores, per cell that the surface crosses
SECONDS_PER_PIXEL, BYTES_PER_PIXEL = 1e-5, 30  # of stereo
MOST_FORESEEN = 1_000_000  # points: more would not change what is foreseen
SECONDS_PER_POINT, BYTES_PER_POINT = 2e-6, 150  # of reading, moving and thinning


@dataclass(frozen=True)
class Reconstruction:
    """A mesh and how it came about.

    Attributes:
        mesh: the closed solid, world frame, `confidence` among its scalars.
        sheet: the part of it that was scanned, for a scan judged open; else None.
        report: topology and measures of the solid.
        field: unit frame.
        unit_from_world: the bridge between the field's frame and the scan's.
        settings: of the method, as resolved.
        sharp: whether sharp edges were looked for.
        scan: what it was made of, world frame.
    """

    mesh: Mesh
    sheet: Mesh | None
    report: MeshReport
    field: Field
    unit_from_world: Similarity
    method: str
    settings: Mapping[str, Any]
    resolution: int
    sharp: bool = False
    scan: Scan | None = None

    def summary(self) -> dict[str, Any]:
        """What report.json says of the result, beside its topology."""
        known = {"method": self.method, "settings": dict(self.settings), "resolution": self.resolution}
        return known | {"open": self.sheet is not None, "sharp": self.sharp}


@dataclass(frozen=True)
class Estimate:
    """What a reconstruction will take on two cores."""

    seconds: float
    bytes: int
    resolution: int


def reconstruct(
    scan: Scan | np.ndarray,
    method: Any = "auto",
    *,
    resolution: int | None = None,
    open: bool | None = None,
    sharp: bool = False,
    run: Run | None = None,
    before: Reconstruction | None = None,
) -> Reconstruction:
    """The closed surface of a scan or of photographs, in their own frame.

    Args:
        scan: world frame; an array (N, 3) is taken for points without normals.
        method: a method's settings, its name, or "auto", see preferred_method().
        resolution: cells along the unit box; None follows the spacing of the points.
        open: whether to give the trimmed sheet as well; None judges by the share of the surface that nobody scanned.
        sharp: whether to move vertices onto sharp edges and corners where the scan has some.
        run: device, seed, progress, budget of time, checkpoints.
        before: of photographs, the result of the frame before, if they are the next of a sequence: it takes a fraction of the time then.
    Raises:
        InputError: the scan can't be used, or isn't that of the run to resume. SurfreconError: the fit failed.
    """
    run = run or Run()
    scan = PointCloud(scan) if isinstance(scan, np.ndarray) else scan
    if isinstance(scan, PointCloud):
        check_extent(scan)
    if method == "auto" and isinstance(scan, PointCloud):
        method = preferred_method(scan, run)
    name, method = named(method, scan)
    scan = scan.distinct()
    if run.folder:
        run.fingerprint = fingerprint(scan, name, method, run.seed, before)
        Checkpoints(run).newest()  # what can't be resumed is refused before the work begins
    unit_from_world = Similarity.fit(scan)
    unit = scan.transformed(unit_from_world)
    points = surface_points(unit, run)
    earlier = None
    if before is not None and before.method == name:
        target_from_unit = as_before(before, unit_from_world, points, run)
        moved = points.transformed(target_from_unit)
        if np.abs(moved.points).max() < 1:  # else it has grown out of its box, and is fitted in a new one
            unit_from_world, earlier = target_from_unit.after(unit_from_world), before.field
            unit, points = scan.transformed(unit_from_world), moved
    field = fitted(method, unit, run, points, earlier)
    resolution = resolution or field.resolution or resolution_for(points)
    if (run.cut or run.stopped) and field.resolution:
        resolution = min(resolution, field.resolution)
    points = thinned(points, side=2 / max(FINEST, resolution))  # more points than vertices tell the mesh nothing
    with run.stage("extract"):
        mesh = supported(marching_cubes(field, resolution=resolution, run=run), points.points)
        mesh, cuts = without_small_handles(mesh, longest=HANDLE_SPACINGS * points.spacing())
        run.facts["handles_cut"] = cuts
    if sharp:
        with run.stage("sharpen"):
            mesh = sharpen(mesh, field, points.points, step=2 / min(resolution, field.resolution or resolution), run=run)
    with run.stage("attributes"):
        mesh = attribute(mesh, points)
        reach = CONFIDENT_SPACINGS / TRIM_SPACINGS
        seen = mesh.scalars["confidence"] >= np.exp(-1 / reach**2)
        if open is None:
            areas = np.linalg.norm(mesh.area_vectors(), axis=1)
            open = bool(areas[~seen[mesh.faces].any(axis=1)].sum() > OPEN_SHARE * areas.sum())
            if open:
                run.warn("much of the closed surface was not scanned: the trimmed sheet is given as well")
        if isinstance(unit, Views):
            mesh = colored(mesh, unit, run=run)
        world = mesh.transformed(unit_from_world.inverse())
        sheet = trim(world, seen) if open else None
    return Reconstruction(world, sheet, inspect(world), field, unit_from_world, name, asdict(method), resolution, sharp, scan)


def named(method: Any, scan: Scan) -> tuple[str, Any]:
    """Name and settings of a method given by either, for a scan; "auto" is the first method that takes its kind.

    Raises:
        InputError: it takes photographs only, and these are points.
    """
    if method == "auto":
        method = methods_for(scan)[0]
    if isinstance(method, str):
        method = method_class(method)()
    name = next(name for name in METHODS if method_class(name) is type(method))
    if not isinstance(scan, (*method.accepts, Views)):  # of photographs, methods for points get the points that these agree on
        raise InputError(f"{name} reconstructs from photographs; for points choose one of {', '.join(methods_for(scan))}")
    return name, method


def preferred_method(scan: PointCloud, run: Run) -> str:
    """The method that "auto" stands for: convonet, whose network has seen whole shapes, where a scan lacks a side, else gridpull.

    What is missing shows in the area vectors of some of the points: see Orientation. A sheet, as of terrain, lacks all of its other side:
    no shape is known from that. Nor is one that sensors stood in the middle of: a street or a hall is no object.
    """
    if scan.origins is not None:
        low, high = scan.object_bounds()
        if np.median(((scan.origins > low) & (scan.origins < high)).all(axis=1)) > 0.5:
            return "gridpull"
    count = min(LOOKED_AT, len(scan))
    some = scan.points[np.random.default_rng(run.seed).choice(len(scan), count, replace=False)]
    cloud = PointCloud(some - np.median(some, axis=0)).distinct()
    cloud = cloud[~outlying(cloud.points)]
    if len(cloud) < LEAST_LOOKED_AT:
        return "gridpull"  # which says what it lacks, if it is too little
    axes = local_surfaces(cloud.points).normals
    if np.linalg.eigvalsh(axes.T @ axes / len(axes))[-1] > SHEET:
        return "gridpull"
    missing = float(np.linalg.norm(orient(cloud, axes, Run(run.device)).missing))
    run.facts["missing_side"] = missing
    return "convonet" if SIDE_MISSING[0] < missing < SIDE_MISSING[1] else "gridpull"


def as_before(before: Reconstruction, unit_from_world: Similarity, points: PointCloud, run: Run) -> Similarity:
    """What takes the points in a frame of their own to that of the frame before, so that the object is where it was then."""
    then = before.mesh.vertices
    with run.stage("motion"):
        motion = rigid_motion(unit_from_world.points(then), points, seed=run.seed)  # of the object, in the points' frame
    angle = np.degrees(np.arccos(np.clip((np.trace(motion.rotation) - 1) / 2, -1, 1)))
    middle = unit_from_world.points(then.mean(axis=0, keepdims=True))
    shift = np.linalg.norm(motion.points(middle) - middle) / unit_from_world.scale
    run.facts["motion"] = {"degrees": float(angle), "shift": float(shift)}
    return before.unit_from_world.after(unit_from_world.inverse()).after(motion.inverse())


def surface_points(unit: Scan, run: Run) -> PointCloud:
    """What is known of the surface as points: a scan itself, of photographs the points that they agree on."""
    if isinstance(unit, PointCloud):
        return unit
    saved = remembered(run, "stereo", lambda: _arrays(stereo_cloud(unit, run=run)))
    cloud = PointCloud(**{key: saved[key] for key in POINT_ARRAYS}, scalars={"confidence": saved["confidence"]})
    return thinned(cloud, side=cloud.spacing(), enough=ENOUGH_POINTS)


def _arrays(cloud: PointCloud) -> dict[str, np.ndarray]:
    return {key: getattr(cloud, key) for key in POINT_ARRAYS} | {"confidence": cloud.scalars["confidence"]}


def fingerprint(scan: Scan, name: str, method: Any, seed: int, before: Reconstruction | None = None) -> str:
    """SHA-256 of all that decides the field: the scan's content, method, settings, seed, and what it follows."""
    digest = hashlib.sha256(json.dumps([name, asdict(method), seed]).encode())
    if before is not None:
        digest.update(before.unit_from_world.matrix().tobytes() + before.mesh.vertices.tobytes())
    for array in scan.content:
        digest.update(b"none" if array is None else np.ascontiguousarray(array))
    return digest.hexdigest()


def resolution_for(unit: PointCloud) -> int:
    """Cells along the unit box that show what the points hold: one per spacing, a multiple of 16."""
    return int(np.clip(16 * round(CELLS_PER_SPACING * 2 / unit.spacing() / 16), 32, FINEST))


def attribute(mesh: Mesh, scan: PointCloud) -> Mesh:
    """The mesh with colours, scalars and confidence from the nearest points.

    Colours and floating scalars are means weighted by inverse distance; other scalars (classes, ids) come from the nearest point.
    Confidence is exp(-(d / (3 spacing))^2), d the distance to the nearest point.
    """
    count = min(NEIGHBOURS, len(scan))
    distance, nearest = cKDTree(scan.points).query(mesh.vertices, count, workers=-1)
    distance, nearest = distance.reshape(-1, count), nearest.reshape(-1, count)
    weight = 1 / np.maximum(distance, 1e-3 * scan.spacing())
    weight /= weight.sum(1, keepdims=True)
    mean = lambda values: np.einsum("vk,vk...->v...", weight, values[nearest])
    scalars = {
        key: mean(values).astype(values.dtype) if values.dtype.kind == "f" else values[nearest[:, 0]]
        for key, values in scan.scalars.items()
    }
    scalars["confidence"] = np.exp(-((distance[:, 0] / (CONFIDENT_SPACINGS * scan.spacing())) ** 2)).astype(np.float32)
    colors = None if scan.colors is None else mean(scan.colors)
    return replace(mesh, normals=mesh.vertex_normals(), colors=colors, scalars=scalars, crs=scan.crs, unit=scan.unit)


def foreseen_points(unit: Views) -> PointCloud:
    """About as many points as photographs will agree on, as dense: a pixel apart on a ball that fits their object."""
    low, high = unit.bounds()
    radius = float((high - low).mean()) / 2
    count = int(np.clip(4 * np.pi * (radius / pixel_width(unit)) ** 2, 1000, MOST_FORESEEN))
    normals = directions_around(count)
    return PointCloud((low + high) / 2 + radius * normals, normals=normals)


def estimate(scan: Scan, method: Any = "auto", resolution: int | None = None) -> Estimate:
    """Time and memory on two cores: what the method foresees, and extraction; good to a factor of two."""
    _, method = named(method, scan)
    unit = scan.transformed(Similarity.fit(scan))
    if isinstance(unit, Views):
        points, pixels = foreseen_points(unit), int(unit.sizes.prod(axis=1).sum())
        seconds, bytes = SECONDS_PER_PIXEL * pixels, BYTES_PER_PIXEL * pixels
    else:
        points = unit = thinned(unit)
        seconds, bytes = SECONDS_PER_POINT * len(scan), BYTES_PER_POINT * len(scan)
    foreseen = [stage.foresee(given(stage, unit, points)) for stage in stages(method)]
    seconds, most, finest = seconds + sum(row[0] for row in foreseen), max(row[1] for row in foreseen), foreseen[-1][2]
    resolution = resolution or finest
    crossed = len(points) * (points.spacing() * resolution / 2) ** 2
    seconds += SECONDS_PER_CELL * crossed
    return Estimate(seconds, int(bytes + max(most, BYTES_PER_CELL * crossed)), resolution)
