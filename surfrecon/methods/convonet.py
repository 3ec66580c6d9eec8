"""convonet: a network that has learnt shapes says what is inside, in one look at a sparse, noisy or one-sided cloud without normals.

Its weights, trained by us on solids of our own making, are part of the package. gridpull goes on from its field: the network's word where
winding numbers are nearly undecided, as behind what nobody scanned, the data's detail. The preset "network" leaves its field as it is.

Source: Peng, Niemeyer, Mescheder, Pollefeys and Geiger, "Convolutional occupancy networks", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.run import Run
from surfrecon.thinning import FINEST, thinned

if TYPE_CHECKING:
    from surfrecon.fields import Field

# torch is imported inside functions: settings are read where --help must answer fast.

MOST_POINTS = 3000  # of an object, that the network sees, thinned so that they lie evenly as those do that it has learnt from
SECONDS, BYTES = 3.0, 1.2e9  # of an object on two cores
FINER, CELLS = 2, 128  # samples along a spacing of the points at which the surface is worth extracting; along the box of an object at most


@dataclass(frozen=True)
class ConvONet:
    """Settings of convonet.

    Attributes:
        weights: "objects" for a cloud that is scaled to the box that the network has learnt about; "scenes" for rooms and what else is too
            large for one box, looked at window by window, up along z; or a file from `surfrecon train-prior` of either kind.
        threshold: probability of being inside above which a place is.
        refine: preset by which gridpull goes on from the network's field; "none" leaves that as it is.
    """

    weights: str = "objects"
    threshold: float = 0.5
    refine: str = "balanced"

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "network": {"refine": "none"},
        "fast": {"refine": "fast"},
        "balanced": {},
        "fine": {"refine": "fine"},
    }
    accepts: ClassVar[tuple[type, ...]] = (PointCloud,)
    starts_from: ClassVar[tuple[str, dict[str, Any]] | None] = None
    follows: ClassVar[bool] = False

    @property
    def refined_by(self) -> tuple[str, dict[str, Any]] | None:
        from surfrecon.methods import method_class

        if self.refine == "none":
            return None
        presets = method_class("gridpull").PRESETS
        if self.refine not in presets:
            raise InputError(f"refine must be none or a preset of gridpull ({', '.join(presets)}), got {self.refine!r}")
        return "gridpull", presets[self.refine]

    def fit(self, scan: PointCloud, run: Run, start: Field | None = None) -> Field:
        """The network's field of a scan.

        Args:
            scan: in the unit frame.
            run: surroundings.
            start: of no use here.
        Raises:
            InputError: the weights can't be read, or the threshold is no probability.
        """
        import torch

        from surfrecon.fields.conv_occupancy import ConvOccupancyField
        from surfrecon.networks.weights import named_weights, read_weights
        from surfrecon.networks.windows import encoded
        from surfrecon.outliers import outlying

        if not 0 < self.threshold < 1:
            raise InputError(f"threshold must be a probability between 0 and 1, got {self.threshold}")
        with run.stage("look"):
            points = scan.points[~outlying(scan.points)]
        with run.stage("network"), torch.no_grad():
            network, facts = read_weights(named_weights(self.weights))
            if network.layout.places and len(points) > MOST_POINTS:
                points = thinned(PointCloud(points), enough=MOST_POINTS).points
            device = run.torch_device()
            network = network.to(device).requires_grad_(False)
            lattice, features = encoded(network, points, device=device)
            run.facts["network"] = {name: facts.get(name) for name in ("layout", "steps")}
            odds = float(np.log(self.threshold / (1 - self.threshold)))
            finest = CELLS / (lattice.shape[0] * lattice.step) if network.layout.places else np.inf
            along = min(FINER / PointCloud(points).spacing(), finest)  # samples per unit length
            resolution = min(FINEST, 16 * max(1, round(2 * along / 16)))
            return ConvOccupancyField(network, features, lattice, threshold=odds, resolution=resolution)

    def foresee(self, scan: PointCloud) -> tuple[float, float, int]:
        """Seconds on two cores, bytes, and cells along the box."""
        return SECONDS, BYTES, CELLS
