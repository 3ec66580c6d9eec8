"""RadianceField: a signed distance with colours that depend on the direction of view, after NeuS.

The colour at a point is a small network of the surface network's features there, of the surface's normal and of the direction from which it
is seen, as spherical harmonics. Colours are sRGB, 0 to 1, as photographs hold them. Letters: S samples, V photographs. Frame: the unit box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, relu

from surfrecon import ops
from surfrecon.fields.field import Field
from surfrecon.fields.hash_grid import PART, REACH, HashGridField
from surfrecon.rendering import BAND, Lattice, over, pixel_centers, pixel_rays, points, render, spherical_harmonics
from surfrecon.views import Views

SAMPLES_SHOWN = 8  # of a ray straight onto the surface, in photographs
RAYS_SHOWN = 2**14
SRGB_KNEE, SRGB_LINEAR, SRGB_OFFSET, SRGB_POWER = 0.04045, 12.92, 0.055, 2.4  # IEC 61966-2-1


class RadianceField(Field):
    """A surface and what it looks like.

    Attributes:
        surface: whose features the colours are made of.
        weights, biases: of the colour network's layers, first layer first.
        bands: of spherical harmonics.
        gains: (V, 3) logarithm of each photograph's exposure; their mean is that of what is seen here.
        environment: what lies behind the object, by direction; None where masks tell the object from it.
        inv_s: () sharpness of the surface as it was seen last, in 1 / unit length.
    """

    def __init__(
        self,
        surface: HashGridField,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        gains: Tensor,
        *,
        bands: int,
        environment: Environment | None = None,
    ):
        super().__init__()
        self.surface, self.bands, self.environment = surface, bands, environment
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        self.gains = nn.Parameter(gains)
        self.register_buffer("inv_s", torch.ones((), device=gains.device))

    def forward(self, x: Tensor) -> Tensor:
        return self.surface(x)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.surface.value_and_gradient(x)

    def seen(self, features: Tensor, gradient: Tensor, directions: Tensor) -> Tensor:
        """(S, 3) colours of points with these features (S, C), gradients (S, 3), seen along unit directions (S, 3)."""
        inputs = torch.cat([features, normalize(gradient, dim=1), spherical_harmonics(directions, self.bands)], dim=1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            inputs = relu(linear(inputs, weight, bias))
        return torch.sigmoid(linear(inputs, self.weights[-1], self.biases[-1]))

    def exposed(self, color: Tensor, view: Tensor) -> Tensor:
        """(R, 3) colours as the photographs (R,) show them."""
        return color * torch.exp(self.gains - self.gains.mean(dim=0))[view]

    @torch.no_grad()
    def photograph(self, views: Views, view: int, lattice: Lattice | None = None) -> np.ndarray:
        """(H, W, 3) uint8 what the camera of one view in the unit frame sees, before black where nothing is known to stand behind.

        Args:
            lattice: of this surface, refreshed for its sharpness; None makes one, which takes longer than a picture.
        """
        lattice = self.lattice() if lattice is None else lattice
        width, height = map(int, views.sizes[view])
        device = self.inv_s.device
        as_float = lambda values: torch.tensor(values, dtype=torch.float32, device=device)
        camera = as_float(views.intrinsics[view]), as_float(views.cam_from_world[view])
        step, parts = float(2 * BAND / (SAMPLES_SHOWN * self.inv_s)), []
        for pixels in pixel_centers(width, height, device=device).split(RAYS_SHOWN):
            rays = pixel_rays(pixels, *camera)
            middle = torch.full((len(pixels),), 0.5, device=device)
            samples = lattice.samples(rays, self.inv_s, step=step, most=4 * SAMPLES_SHOWN, jitter=middle)
            value, gradient, features = self.surface.with_features(points(samples, *rays))
            color = self.seen(features, gradient, rays.directions[samples.ray_of()])
            found = render(samples, rays.directions, value, gradient, color, self.inv_s)
            behind = torch.zeros_like(found.color) if self.environment is None else self.environment(rays.directions)
            parts.append(over(found.color, found.transmittance, behind))
        image = torch.cat(parts).clamp(0, 1).mul(255).round().to(torch.uint8)
        return image.view(height, width, 3).cpu().numpy()

    def lattice(self) -> Lattice:
        """A lattice of this surface as it is."""
        lattice = Lattice(self.surface.start, reach=REACH[1] * self.surface.scale, device=self.inv_s.device)
        lattice.refresh(self.surface, self.inv_s)
        return lattice

    def color(self, x: Tensor, n: Tensor) -> Tensor:
        """(N, 3) linear RGB seen from straight above."""
        parts = []
        for at, normal in zip(x.split(PART), n.split(PART)):
            _, gradient, features = self.surface.with_features(at)
            parts.append(self.seen(features, gradient, -normal))
        color = torch.cat(parts) if parts else torch.zeros_like(x)
        return torch.where(color <= SRGB_KNEE, color / SRGB_LINEAR, ((color + SRGB_OFFSET) / (1 + SRGB_OFFSET)) ** SRGB_POWER)


class Environment(nn.Module):
    """What is seen behind everything, by direction alone: a hash grid over the unit sphere, linear in its features.

    Right where it is far away; what is near shows a blurred mean, which still keeps the surface from having to explain it.
    """

    def __init__(self, grid: ops.HashGrid, table: Tensor, weight: Tensor, bias: Tensor):
        super().__init__()
        self.grid = grid
        self.table, self.weight, self.bias = nn.Parameter(table), nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, directions: Tensor) -> Tensor:
        """(R, 3) colours along unit directions (R, 3)."""
        features, _ = ops.hash_encode(self.grid, self.table, directions)
        return torch.sigmoid(linear(features, self.weight, self.bias))
