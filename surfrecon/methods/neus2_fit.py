"""neus2's training: rays of drawn pixels, samples in a band around the surface they meet, colours compared.

Where rays cross the surface, patches are held against other photographs (patches.py), and the surface against depth maps, if there are any.

Pixels are drawn for REFILL steps at once, and their samples found on a lattice of the surface as it is then. A checkpoint falls on such a
refill, so that a run that resumes draws and finds the same. Letters and frame: see neus2.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from surfrecon.errors import SurfreconError
from surfrecon.fields.field import Field
from surfrecon.fields.hash_grid import HashGridField
from surfrecon.fields.radiance import Environment, RadianceField
from surfrecon.ops import HashGrid, Samples, SdfNetwork
from surfrecon.optimize import Adam, cosine, train, warmed
from surfrecon.patches import Patches
from surfrecon.rendering import BAND, Photographs, Rays, over, pixel_width, points, render
from surfrecon.run import Run
from surfrecon.views import Views

if TYPE_CHECKING:
    from surfrecon.methods.neus2 import NeuS2

REFILL = 100  # steps for which pixels are drawn and samples taken at once
RAYS_AT_ONCE = 2**16
FINISH_SECONDS = 45.0  # for the mesh, its colours, texture and measures: spot's took 40
GATE = 0.4  # scale of the residual over its reach
BANDS = 3  # of the spherical harmonics
PATCHES, MEASURED = 512, 1024  # of a step, at most: patches, and pixels whose depth is held against the surface
LEAST_COSINE = 0.2  # between the surface's normal and the ray, of a patch that is compared
HUBER = 0.1  # errors of colour beyond this count as they are, those below by their square
RAMP = 0.3  # share of the steps over which levels come in, the coarse half of them first
WARM, LAST = 20, 0.03  # steps over which the rate grows; its share at the end
NETWORK_RATE, GAIN_RATE = 0.2, 0.1  # of the table's
DIMMEST = 0.02  # mean colour to start from; pure black and white have no logit
SKY = HashGrid(levels=6, features=2, base=4, finest=64, log2_entries=15)


class Fit:
    """One training."""

    def __init__(self, settings: NeuS2, views: Views, start: Field, run: Run, before: RadianceField | None = None):
        self.settings, self.run, self.device, self.fresh = settings, run, run.torch_device(), before is None
        self.steps = settings.steps if self.fresh else max(1, round(settings.following * settings.steps))
        self.generator = run.generator()
        self.pixel = pixel_width(views)
        network = settings.network(self.pixel)
        with run.stage("start"):
            self.photographs = Photographs(views, self.device)
            self.patches = Patches(views, self.device) if settings.patches else None
            self.field = _untrained(settings, network, self.generator, start, self.photographs)
            if before is not None:
                _take_over(self.field, before)
            self.lattice = self.field.lattice()
        self.field.resolution = settings.extracted(self.pixel)
        with run.stage("fit"):
            rate = warmed(cosine(settings.rate, last=LAST * settings.rate, steps=self.steps), WARM)
            parameters = {name: p for name, p in self.field.named_parameters() if settings.exposure or name != "gains"}
            factors = {name: NETWORK_RATE for name in parameters if not name.endswith("table")} | {"gains": GAIN_RATE}
            descent = Adam(self._loss, parameters, rate=rate, factors={name: factors[name] for name in factors if name in parameters})
            tell = lambda done, loss: run.step("fit", done, self.steps, surface=self.field, loss=loss)
            train(descent, steps=self.steps, run=run, generator=self.generator, stride=REFILL, reserve=FINISH_SECONDS, on_step=tell)
        self._progress(self.steps)
        self.field.requires_grad_(False)
        self.lattice.refresh(self.field.surface, self.field.inv_s)
        self.field.lipschitz = self.lattice.steepest(self.field.surface)

    def _progress(self, step: int) -> None:
        """Sharpness and levels as they are at a step."""
        settings, done = self.settings, min(1.0, step / max(1, self.steps))
        width = self.pixel * settings.blunt * (settings.sharp / settings.blunt) ** done
        self.field.inv_s.fill_(1 / width)
        levels = self.field.surface.network.grid.levels
        active = levels * (0.5 + 0.5 * done / RAMP) if self.fresh else levels
        shares = (active - torch.arange(levels, device=self.device)).clamp(0, 1)
        self.field.surface.mask = None if active >= levels else shares

    def _refill(self) -> None:
        """Draw pixels for the next REFILL steps, and take the samples of their rays that count."""
        self.lattice.refresh(self.field.surface, self.field.inv_s)
        pool = torch.randint(len(self.photographs), (REFILL * self.settings.rays,), generator=self.generator, device=self.device)
        step = float(2 * BAND / (self.field.inv_s * self.settings.samples))
        taken = []
        for pixels in pool.split(RAYS_AT_ONCE):
            rays = self.photographs.rays(pixels)
            jitter = torch.rand(len(pixels), generator=self.generator, device=self.device)
            samples = self.lattice.samples(rays, self.field.inv_s, step=step, most=2 * self.settings.samples, jitter=jitter)
            met = samples.counts > 0
            taken.append((pixels[met], *(item[met] for item in rays), samples.counts[met], samples.t, samples.lengths))
        if not any(len(part[0]) for part in taken):
            raise SurfreconError("no photograph shows the surface to start from: are cameras, masks and photographs of one object?")
        self.pool, self.origins, self.directions, counts, self.t, self.lengths = (torch.cat(parts) for parts in zip(*taken))
        self.offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def _loss(self, step: int, divisor: int) -> Tensor:
        """By one batch of rays."""
        settings, field = self.settings, self.field
        self._progress(step)
        if step % REFILL == 0:
            with torch.no_grad():
                self._refill()
        count = len(self.pool) // REFILL
        first = step % REFILL * count
        last = first + max(1, count // divisor)
        origins, directions = self.origins[first:last], self.directions[first:last]
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        samples = Samples(self.t[begin:end], self.lengths[begin:end], self.offsets[first : last + 1] - begin)
        x = points(samples, origins, directions)
        value, gradient, features = field.surface.with_features(x)
        color = field.seen(features, gradient, directions[samples.ray_of()])
        seen = self.photographs.seen(self.pool[first:last])
        if self.photographs.masked:
            behind = torch.rand(last - first, 3, generator=self.generator, device=self.device)
            target = torch.where(seen.inside[:, None], seen.color, behind)
        else:
            behind, target = field.environment(directions), seen.color
        found = render(samples, directions, value, gradient, color, field.inv_s)
        shown = over(field.exposed(found.color, seen.view), found.transmittance, behind)
        loss = smooth_l1_loss(shown, target, beta=HUBER) + settings.eikonal * (gradient.norm(dim=1) - 1).square().mean()
        if settings.smooth:
            loss = loss + settings.smooth * self._roughness(x, gradient)
        if self.patches is not None:
            loss = loss + settings.patches * self._disagreement(samples, value.detach(), Rays(origins, directions), self.pool[first:last])
        if self.photographs.depths is not None and settings.depths:
            measured, _ = self.photographs.measured(self.pool[first:last][:MEASURED])
            if len(measured):
                loss = loss + settings.depths * field.surface.with_features(measured)[0].abs().mean()
        return loss

    def _disagreement(self, samples: Samples, value: Tensor, rays: Rays, pixels: Tensor) -> Tensor:
        """What photographs disagree by about the surface, where the first PATCHES rays that cross it do."""
        ray = samples.ray_of()
        before = torch.nonzero((value[:-1] > 0) & (value[1:] <= 0) & (ray[:-1] == ray[1:]))[:, 0]
        crossed, count = torch.unique_consecutive(ray[before], return_counts=True)
        before, crossed = before[count.cumsum(0) - count][:PATCHES], crossed[:PATCHES]  # where each enters first
        t = torch.lerp(samples.t[before], samples.t[before + 1], value[before] / (value[before] - value[before + 1]))
        directions = rays.directions[crossed]
        x = rays.origins[crossed] + t[:, None] * directions
        rest, gradient, _ = self.field.surface.with_features(x)
        slope = (gradient.detach() * directions).sum(dim=1)
        straight = slope < -LEAST_COSINE
        x = (x - (rest / torch.where(straight, slope, -1))[:, None] * directions)[straight]  # a step of Newton's carries the gradient
        pixels = pixels[crossed[straight]]
        view, place = self.photographs.view[pixels].long(), self.photographs.places[pixels].long()
        return self.patches.disagreement(view, place, x, gradient[straight])

    def _roughness(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Mean square of how the gradient changes over a pixel, at every 8th sample."""
        some = slice(None, None, self.settings.samples)
        direction = torch.nn.functional.normalize(torch.randn(x[some].shape, generator=self.generator, device=self.device), dim=1)
        _, other, _ = self.field.surface.with_features(x[some] + self.pixel * direction)
        return (other - gradient[some]).square().sum(1).mean()


def _take_over(field: RadianceField, before: RadianceField) -> None:
    """Begin with the features and colours of the frame before; the distance is the start's."""
    for name, parameter in before.named_parameters():
        own = field.get_parameter(name)
        if own.shape == parameter.shape:  # exposures are of as many photographs
            own.copy_(parameter)
    field.surface.weights[-1][0] = 0
    field.surface.biases[-1][0] = 0


def _untrained(
    settings: NeuS2, network: SdfNetwork, generator: torch.Generator, start: Field, photographs: Photographs
) -> RadianceField:
    """A field whose surface is the start: the last layer's row of the distance is zero (the others: He et al., 2015).

    All is of the photographs' mean colour: were it brighter than they are, the first steps would darken it by whatever weight is at hand,
    which leaves colours that no step can mend and a surface that has moved to hide behind others.
    """
    device = generator.device
    normal = lambda shape: torch.randn(shape, generator=generator, device=device) * (2 / shape[1]) ** 0.5
    weights = [normal(shape) for shape in network.weight_shapes]
    weights[-1][0] = 0
    biases = [torch.zeros(shape, device=device) for shape in network.bias_shapes]
    surface = HashGridField(network, network.grid.start(generator), weights, biases, start=start, scale=GATE * settings.reach)
    inputs = network.outputs - 1 + 3 + BANDS**2
    shapes = ((settings.width, inputs), (settings.width, settings.width), (3, settings.width))
    colors = [normal(shape) for shape in shapes]
    colors[-1] *= 0.1
    typical = torch.logit(photographs.mean(), eps=DIMMEST)
    sky = None
    if not photographs.masked:
        sky = Environment(SKY, SKY.start(generator), torch.zeros(3, SKY.encoded, device=device), typical.clone())
    starts = [torch.zeros(shape[0], device=device) for shape in shapes[:-1]] + [typical]
    return RadianceField(surface, colors, starts, torch.zeros(photographs.views, 3, device=device), bands=BANDS, environment=sky)
