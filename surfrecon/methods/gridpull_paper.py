"""GridPull as published: a dense lattice of distances from a small sphere's, Adam on pulled queries; no normals, no winding numbers.

Source: Chen, Liu and Han, "GridPull: towards scalability in learning implicit representations from 3D point clouds", ICCV 2023. Preset
`paper` of gridpull. What the published figures leave open is said beside each choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from surfrecon import losses, ops
from surfrecon.fields.trilinear import TrilinearField
from surfrecon.geometry import PointCloud
from surfrecon.optimize import Adam, stepwise, train
from surfrecon.run import Run

if TYPE_CHECKING:
    from surfrecon.methods.gridpull import GridPull

SIGMAS = (2.7e-4, 5.4e-4)  # of the queries' noise, in longest sides of the scan
SHARES = (3, 5)  # of eight queries, how many have each sigma
POOL = 20  # batches of queries, drawn once with their targets and used in turn: fresh ones would differ by far less than a cell
RATE = 1.0  # of Adam at the start, in cells
DECAY, DECAY_STEPS = 0.3, 400  # of the rate: this factor, after each so many steps
REACH = 14  # nodes around the points, along each axis, that the smoothness visits
RADIUS = 0.02  # of the start's sphere, unit frame: 1.28 published cells
NODES = 128  # of the published grid, along each axis
STEP = 2 / (NODES - 1)
WEIGHTS = {"smooth": 1.0, "surface": 1.0, "align": 0.005}  # beside the pull's 1


def fit(settings: GridPull, scan: PointCloud, run: Run) -> TrilinearField:
    """A scan's distance on a dense lattice; the sign follows from the start alone.

    The published code starts with distances in cells and pulls in units of the scan's longest side, two units that differ by the grid's
    fineness. Here every length is in the unit frame; the rate, published as 1, is one cell.
    """
    device = run.torch_device()
    # A lattice finer than the points falls apart into a bubble around each of them.
    nodes = settings.finest + 1 if settings.finest else max(2, min(NODES, 1 + round(2 / scan.spacing())))
    axis = torch.linspace(-1, 1, nodes, device=device)
    x = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    field = TrilinearField(torch.linalg.vector_norm(x, dim=-1) - RADIUS)
    with run.stage("start"):
        points = scan.points[(abs(scan.points) < 1).all(axis=1)]
        queries, targets = _queries(points, settings.queries, field.step, np.random.default_rng(run.seed))
        queries, targets = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (queries, targets))
        occupied = torch.zeros(field.values.shape, dtype=torch.bool, device=device)
        node = ((torch.as_tensor(points, device=device) + 1) / field.step).round().long()
        occupied[node[:, 0], node[:, 1], node[:, 2]] = True
        weights = losses.roughness_weights(occupied, REACH)

    # The roughness of a given field is in proportion to the step, as w counts steps: this keeps its say on every grid.
    smooth = WEIGHTS["smooth"] * STEP / field.step
    every = max(1, min(DECAY_STEPS, settings.steps // 3))  # short runs too end with small steps

    shares = {"smooth": smooth, "surface": WEIGHTS["surface"], "align": WEIGHTS["align"]}

    def loss_of(step: int, divisor: int) -> torch.Tensor:
        batch = (tensor[step % POOL, ::divisor].contiguous() for tensor in (queries, targets))
        return ops.pulling(field.values, *batch, weights, **shares)

    with run.stage("fit"):
        rate = stepwise(RATE * field.step, factor=DECAY, every=every)
        tell = lambda done, loss: run.step("fit", done, settings.steps, loss=loss)
        train(Adam(loss_of, {"values": field.values}, rate=rate), steps=settings.steps, run=run, on_step=tell)
    with torch.no_grad():
        # Nodes beyond reach still have the start's values, positive deep inside a thick object too: they take their nearest neighbour's.
        place = distance_transform_edt((weights == 0).cpu().numpy(), return_distances=False, return_indices=True)
        x, y, z = torch.as_tensor(place, dtype=torch.long, device=device)
        field.values.copy_(field.values[x, y, z])
        if field.values[0, 0, 0] < 0:  # a corner of the box is outside
            field.values.neg_()
    field.lipschitz = field.slope_bound()
    return field


def _queries(points: np.ndarray, count: int, step: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(POOL, count, 3) points with noise, and for each the nearest point of the scan; each batch in the order of cells of side `step`."""
    side = (points.max(axis=0) - points.min(axis=0)).max()
    rows = generator.integers(len(points), size=POOL * count)
    sigma = side * np.repeat(SIGMAS, SHARES)[np.arange(len(rows)) % sum(SHARES)]
    queries = points[rows] + sigma[:, None] * generator.standard_normal((len(rows), 3))
    targets = points[cKDTree(points).query(queries, workers=1)[1]]
    x, y, z = np.floor((queries + 1) / step).T
    order = np.lexsort((z, y, x, np.repeat(np.arange(POOL), count)))  # neighbours in space read and write neighbours in memory
    return queries[order].reshape(POOL, count, 3), targets[order].reshape(POOL, count, 3)
