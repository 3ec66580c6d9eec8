"""neus2: photographs with known cameras to a signed distance with colours, by volume rendering.

The method of NeuS2 on a hash grid whose signed distance is the residual to a start: the surface that gridpull finds on the points that the
views agree on (plane-sweep stereo), or on the visual hull where they show nothing. The start knows where empty space is, so rays need
samples in a thin band around the surface only, and sharpness follows a schedule instead of being learnt, so that it can't collapse.

Everything is in the unit frame. p: what a pixel covers at the object. Letters: V views, R rays, S samples.
Source: Wang, Han, Habermann et al., NeuS2, 2023; opacity: Wang, Liu et al., NeuS, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from surfrecon.errors import InputError
from surfrecon.run import Run
from surfrecon.views import Views

if TYPE_CHECKING:
    from surfrecon.fields.grid import GridField
    from surfrecon.fields.radiance import RadianceField
    from surfrecon.ops import SdfNetwork

LEAST_CELLS, FINEST = 64, 512  # along the box, that a mesh shows
# Measured on two cores: seconds of a ray's sample of a step; bytes: constant, per pixel, per number of the table.
SECONDS_PER_RAY = 4e-6
FIXED_BYTES, BYTES_PER_PIXEL, BYTES_PER_NUMBER = 1.2e9, 30, 20


@dataclass(frozen=True)
class NeuS2:
    """Settings of neus2.

    Attributes:
        steps: of Adam.
        following: of these, share that the next frame of a sequence takes.
        rays: of a step.
        samples: of a ray, in the band around the surface.
        levels: of the hash grid, from `base` to `finest`.
        features: of each level: 1, 2, 4 or 8.
        base: cells along the box of the coarsest level.
        finest: of the finest; 0 follows the pixels.
        log2_entries: log2 of the most entries of a level.
        width: of the hidden layers: 16, 32, 64 or 128.
        rate: learning rate of the table at the start.
        reach: how far the surface may move from the start, unit frame.
        blunt, sharp: width of the surface's logistic density at the first and the last step, in pixels.
        eikonal: weight of (|gradient| - 1)^2, colours' loss being 1.
        smooth: weight of the change of the normal over a pixel, squared.
        patches: weight of what patches about the surface differ by from photograph to photograph, 1 - NCC.
        depths: weight of the distance, unit frame, between the surface and what depth maps measure, where views come with some.
        exposure: whether each photograph has an exposure of its own.
    """

    steps: int = 1200
    following: float = 0.0625
    rays: int = 4096
    samples: int = 8
    levels: int = 8
    features: int = 2
    base: int = 16
    finest: int = 0
    log2_entries: int = 17
    width: int = 64
    rate: float = 0.01
    reach: float = 0.08
    blunt: float = 0.5
    sharp: float = 0.35
    eikonal: float = 0.02
    smooth: float = 0.05
    patches: float = 0.02
    depths: float = 1.0
    exposure: bool = True

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"steps": 400},
        "balanced": {},
        "fine": {"steps": 5000, "samples": 12, "log2_entries": 19, "levels": 12},
    }
    accepts: ClassVar[tuple[type, ...]] = (Views,)
    starts_from: ClassVar[tuple[str, dict[str, Any]]] = ("gridpull", {"cells_per_spacing": 0.5, "rounds": 2})  # no finer than its points
    refined_by: ClassVar[tuple[str, dict[str, Any]] | None] = None
    follows: ClassVar[bool] = True

    def fit(self, scan: Views, run: Run, start: GridField | None = None, before: RadianceField | None = None) -> RadianceField:
        """The views' signed distance and colours over the start.

        Args:
            scan: in the unit frame.
            run: surroundings.
            start: a signed distance of the same object.
            before: of the frame before: the new field begins with its features and colours.
        Raises:
            InputError: there is no start.
        """
        import torch

        from surfrecon.methods.neus2_fit import Fit

        if start is None:
            raise InputError("neus2 needs a surface to start from; reconstruct() fits one with gridpull")
        with torch.no_grad():
            return Fit(self, scan, start, run, before).field

    def network(self, pixel: float) -> SdfNetwork:
        """The layout for photographs whose pixels cover so much of the object, unit frame."""
        from surfrecon.ops import HashGrid, SdfNetwork

        finest = self.finest or min(2 * FINEST, round(2 / pixel))
        grid = HashGrid(
            levels=self.levels, features=self.features, base=self.base, finest=max(finest, self.base), log2_entries=self.log2_entries
        )
        return SdfNetwork(grid, width=self.width, outputs=16, xyz=False, radius=0.0)

    def extracted(self, pixel: float) -> int:
        """Cells along the unit box at which the surface is worth extracting: as wide as pixels."""
        return min(max(16 * round(2 / pixel / 16), LEAST_CELLS), FINEST)

    def foresee(self, scan: Views) -> tuple[float, float, int]:
        """Seconds on two cores, bytes, and cells along the box of a fit to views in the unit frame, beside the start's."""
        from surfrecon.rendering import pixel_width

        pixel = pixel_width(scan)
        network = self.network(pixel)
        pixels = sum(image.shape[0] * image.shape[1] for image in scan.images)
        seconds = SECONDS_PER_RAY * self.steps * self.rays * self.samples
        bytes = FIXED_BYTES + BYTES_PER_PIXEL * pixels + BYTES_PER_NUMBER * network.grid.numbers
        return seconds, bytes, self.extracted(pixel)
