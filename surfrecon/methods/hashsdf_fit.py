"""hashsdf's fit: samples of gridpull's energy, lowered by Adam on a hash grid over a coarse start.

Per unit of area the energy is the mean over points of w f^2 + reach^2 v |grad f - n|^2, plus length^3 times the thickness of the band times
the mean over queries in it of |Hessian of f|^2, plus the mean over queries far from all points of (f - start)^2. A Hessian along a random
direction d, by the difference of two gradients, has a third of its square on average. Lengths are in s: the loss is near the square of
the noise. Letters and frame: see hashsdf.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon import losses
from surfrecon.fields.grid import GridField
from surfrecon.fields.hash_grid import HashGridField
from surfrecon.ops import SdfNetwork
from surfrecon.optimize import Adam, cosine, train, warmed
from surfrecon.quality import Quality
from surfrecon.run import Run
from surfrecon.survey import Survey

if TYPE_CHECKING:
    from surfrecon.methods.hashsdf import HashSdf

MIN_SCALE, MIN_SCALE_OF_CELL = 0.05, 0.25  # floor of the residual scale, in s and in h: a coarse start misses clean points
QUERIES_PER_POINT, MOST_QUERIES = 16, 2**21  # in the pool; few of them, taken often, leave the bends between them free
BAND = 1.0  # half its thickness, in h
PROBE = 1.0  # from a query to its partner, in cells of the finest level
FAR = 2.5  # from all points, in s, where the start is left alone
STAY = 1.0  # weight of that
WARM, LAST = 20, 0.02  # steps over which the rate grows; its share at the end
NETWORK_RATE = 0.1  # of the table's
FINISH_SECONDS, FINISH_SECONDS_PER_CELL = 2.0, 6e-5  # after the fit: constant, per cell that the surface crosses


class Fit:
    """One training."""

    def __init__(self, settings: HashSdf, known: Survey, start: GridField, run: Run):
        self.settings, self.device = settings, run.torch_device()
        scan = known.scan
        self.spacing, self.cell = scan.spacing(), 2 / start.resolution
        inside = (abs(scan.points) < 1).all(axis=1)
        self.points, self.normals = self._tensor(scan.points[inside]), self._tensor(known.orientation.normals[inside])
        here = known.quality.at(scan.points[inside])
        if settings.smoothing:
            here = replace(here, smoothing=settings.smoothing * here.spacing)
        self.local, self.noise = self._tensor(here.spacing), self._tensor(here.noise)
        self.reach = torch.maximum(settings.normal_reach * self.local, losses.REACH_OF_NOISE * self.noise) / self.spacing
        self.area = self.local.square() / self.local.square().mean()
        generator = run.generator()
        network = settings.network(self.spacing, len(self.points), float(here.clean.mean()), start.resolution)
        self.field = _untrained(network, generator, start, self.cell)
        self.field.resolution = settings.extracted(network.grid.finest)
        with run.stage("start"):
            self._pool(generator, network.grid.cells[-1], here)
            self._reweight()
        with run.stage("fit"):
            rate = warmed(cosine(settings.rate, last=LAST * settings.rate, steps=settings.steps), WARM)
            parameters = dict(self.field.named_parameters())
            factors = {name: NETWORK_RATE for name in parameters if name != "table"}
            descent = Adam(lambda step, divisor: self._loss(generator, divisor), parameters, rate=rate, factors=factors)
            tell = lambda done, loss: run.step("fit", done, settings.steps, surface=self.field, loss=loss)
            train(descent, steps=settings.steps, run=run, generator=generator, reserve=self._finish(), on_step=tell)
        self.field.requires_grad_(False)
        self.field.lipschitz = self._steepest()
        run.facts["smoothing_spacings"] = float(np.median(here.smoothing / here.spacing))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def _pool(self, generator: torch.Generator, probe: float, here: Quality) -> None:
        """What the loss draws from, with the start's values and gradients: points, and queries in the band with their partners."""
        nodes, steps = self.field.start.finest_nodes(BAND + 1)
        count = min(QUERIES_PER_POINT * len(self.points), MOST_QUERIES)
        share = torch.cumsum((steps / self.cell).double() ** 3, dim=0)  # of the volume
        pick = torch.searchsorted(share, share[-1] * torch.rand(count, generator=generator, device=self.device, dtype=torch.float64))
        pick = pick.clamp(max=len(nodes) - 1)
        x = nodes[pick] + steps[pick, None] * (torch.rand(count, 3, generator=generator, device=self.device) - 0.5)
        x = x[self.field.start(x).abs() < BAND * self.cell]
        direction = torch.nn.functional.normalize(torch.randn(x.shape, generator=generator, device=self.device), dim=1)
        # the last for queries without any point in reach
        local, length = np.append(here.spacing, 0.0), np.append(here.smoothing, np.median(here.smoothing))
        reach = FAR * local.max()
        distance, nearest = cKDTree(self.points.cpu().numpy()).query(x.cpu().numpy(), distance_upper_bound=reach, workers=-1)
        self.far = torch.as_tensor(distance >= FAR * local[nearest], device=self.device)
        self.length = self._tensor(length[nearest]) / self.spacing
        self.probe = PROBE * probe
        self.queries, self.partners = x, x + self.probe * direction
        self.of_points, self.of_queries, self.of_partners = (
            self.field.start.value_and_gradient(at) for at in (self.points, self.queries, self.partners)
        )

    def _reweight(self) -> None:
        """Geman-McClure weights of points and normals by the start's residuals."""
        residual, gradient = self.of_points
        usual = torch.maximum(self.noise, MIN_SCALE * self.local)
        self.weights, _ = losses.robust_weights(residual, usual=usual, floor=usual.clamp(min=MIN_SCALE_OF_CELL * self.cell))
        self.normal_weights = self.weights * losses.normal_weights(gradient, self.normals)

    def _loss(self, generator: torch.Generator, divisor: int) -> Tensor:
        """The energy by one batch, over s^2."""
        draw = lambda rows, count: torch.randint(len(rows), (max(1, count // divisor),), generator=generator, device=self.device)
        p, q = draw(self.points, self.settings.batch), draw(self.queries, self.settings.batch // 2)
        x = torch.cat([self.points[p], self.queries[q], self.partners[q]])
        start = tuple(torch.cat([a[p], b[q], c[q]]) for a, b, c in zip(self.of_points, self.of_queries, self.of_partners))
        value, gradient = self.field.combined(start, self.field.net(x)[:2])
        s, points, queries = self.spacing, len(p), len(q)
        data = (self.area[p] * self.weights[p] * (value[:points] / s) ** 2).mean()
        wrong = (gradient[:points] - self.normals[p]).square().sum(1)
        normals = (self.area[p] * self.normal_weights[p] * self.reach[p] ** 2 * wrong).mean()
        turn = (gradient[points : points + queries] - gradient[points + queries :]).square().sum(1)
        bend = 3 * turn / (self.probe / s) ** 2  # |Hessian|^2 s^2
        length = self.length[q]
        discount = losses.crease_discount(length**2 * bend.detach())
        moved = (value[points : points + queries] - start[0][points : points + queries]) / s
        thickness = 2 * BAND * self.cell / s
        away = self.far[q]
        return (
            data
            + normals
            + thickness * (length**3 * bend * discount).mean()
            + STAY * (away * moved.square()).mean()
        )

    def _finish(self) -> float:
        """Seconds that extracting, checking and writing will take."""
        return FINISH_SECONDS + FINISH_SECONDS_PER_CELL * len(self.points) * (self.spacing * self.field.resolution / 2) ** 2

    def _steepest(self) -> float:
        """The largest slope at the queries: measured there, not proven between them."""
        return float(self.field.value_and_gradient(self.queries)[1].norm(dim=1).max())


def _untrained(network: SdfNetwork, generator: torch.Generator, start: GridField, scale: float) -> HashGridField:
    """A field that is its start: the last layer is zero, the others keep the size of what they pass on (He et al., 2015)."""
    device = generator.device
    weights = [torch.randn(shape, generator=generator, device=device) * (2 / shape[1]) ** 0.5 for shape in network.weight_shapes]
    weights[-1].zero_()
    biases = [torch.zeros(shape, device=device) for shape in network.bias_shapes]
    return HashGridField(network, network.grid.start(generator), weights, biases, start=start, scale=scale)
