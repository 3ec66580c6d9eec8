"""A virtual range scanner: what a depth sensor at a few places around an object would have seen of it.

Conventions: N rays or points, world frame. D is the diagonal of the mesh's box; sensors stand DISTANCE * D from the box's centre, spread
evenly over all directions, and look at the centre through a square pinhole image that just holds the sphere around the box. A point is
origin + depth * direction, and its error lies along the ray.
"""

from __future__ import annotations

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, directions_around

DISTANCE = 1.5  # of the box's diagonal, from its centre to a sensor
GRAZING_LOST = np.cos(np.radians(85))  # rays that meet the surface at a flatter angle never return,
GRAZING_KEPT = np.cos(np.radians(60))  # steeper ones always, those between more often the steeper they are
OUTLIER_BOX = 1.1  # sides of the box that outliers fill, per side of the mesh's box
FIRST_GUESS = 0.3  # share of pixels that return a point, before the first look
PIXEL_RESERVE = 1.05  # more pixels than the share seen so far asks for
MAX_ROUNDS = 8


def _pixels(forward: np.ndarray, side: int) -> np.ndarray:
    """(side^2, 3) unit directions through the pixels of a pinhole image that looks along `forward`, row by row."""
    right = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    half = np.tan(np.arcsin(0.5 / DISTANCE))  # the sphere around the box has radius D / 2
    step = half * ((2 * np.arange(side) + 1) / side - 1)
    rays = forward + step[None, :, None] * right - step[:, None, None] * up
    return (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3)


def _look(mesh: Mesh, centre: np.ndarray, eyes: np.ndarray, side: int, seed: int) -> dict[str, np.ndarray]:
    """What the sensors see, row by row: sensor, direction, depth and the normal of the face met, towards the sensor."""
    from surfrecon.pictures import cast_rays

    sensor = np.repeat(np.arange(len(eyes)), side**2)
    direction = np.concatenate([_pixels((centre - eye) / np.linalg.norm(centre - eye), side) for eye in eyes])
    depth, face = cast_rays(mesh, eyes[sensor], direction)
    normal = mesh.area_vectors()[face]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    cosine = np.einsum("ni,ni->n", normal, direction)
    steepness = (np.abs(cosine) - GRAZING_LOST) / (GRAZING_KEPT - GRAZING_LOST)
    kept = (face >= 0) & (steepness > np.random.default_rng([seed, side]).random(len(face)))
    normal *= -np.sign(cosine)[:, None]
    return {"sensor": sensor[kept], "direction": direction[kept], "depth": depth[kept], "normal": normal[kept]}


def scan(
    mesh: Mesh,
    *,
    views: int = 7,
    points: int = 50_000,
    depth_noise: float = 0.001,
    outliers: float = 0.01,
    normals: bool = False,
    seed: int = 0,
) -> PointCloud:
    """A simulated range scan of a mesh, in the mesh's frame, sensor by sensor, outliers last.

    Args:
        mesh: the truth.
        views: sensors around the object.
        points: how many, outliers included.
        depth_noise: standard deviation along the ray, as a share of the diagonal of the mesh's box.
        outliers: share of the points that are uniform in a box OUTLIER_BOX times the mesh's.
        normals: whether points carry the normal of the face they come from; outliers get zero.
        seed: same seed, same scan.
    Returns:
        A cloud with sensor origins and the scalar `sensor_id`.
    Raises:
        InputError: a count, share or noise out of range, or a mesh that no sensor sees.
    """
    if not len(mesh.faces):
        raise InputError("the mesh to scan has no faces")
    if views < 1 or views > 255 or points < 1:
        raise InputError(f"a scan needs 1 to 255 views and at least 1 point, got {views} views and {points} points")
    if not (0 <= outliers < 1 and depth_noise >= 0):
        raise InputError(f"outliers must be in [0, 1) and depth_noise >= 0, got {outliers} and {depth_noise}")
    rng = np.random.default_rng(seed)
    low, high = mesh.bounds()
    centre, diagonal = (low + high) / 2, float(np.linalg.norm(high - low))
    eyes = centre + DISTANCE * diagonal * directions_around(views)

    strays = round(outliers * points)
    wanted = points - strays
    share = FIRST_GUESS
    for _ in range(MAX_ROUNDS):
        side = int(np.ceil(np.sqrt(PIXEL_RESERVE * wanted / (share * views)))) + 1
        seen = _look(mesh, centre, eyes, side, seed)
        found = len(seen["depth"])
        if found >= wanted:
            break
        share = max(found / (views * side**2), share / 10)
    else:
        raise InputError(f"the sensors see too little of the mesh: {found} points of {wanted} after {MAX_ROUNDS} rounds")

    rows = np.sort(rng.permutation(found)[:wanted])
    sensor, direction, depth, normal = (seen[name][rows] for name in ("sensor", "direction", "depth", "normal"))
    depth = depth + depth_noise * diagonal * rng.standard_normal(wanted)
    hits = eyes[sensor] + depth[:, None] * direction
    stray = centre + OUTLIER_BOX * (rng.random((strays, 3)) - 0.5) * (high - low)
    sensor = np.concatenate([sensor, rng.integers(views, size=strays)])
    return PointCloud(
        np.concatenate([hits, stray]),
        normals=np.concatenate([normal, np.zeros((strays, 3))]) if normals else None,
        scalars={"sensor_id": sensor.astype(np.uint8)},
        origins=eyes[sensor],
        crs=mesh.crs,
    )
