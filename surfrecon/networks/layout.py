"""Layout: the sizes of a convolutional occupancy network, kept with its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from surfrecon.errors import InputError

AXES = {0: (), 1: ((0, 1),), 3: ((0, 1), (0, 2), (1, 2))}  # planes -> the two axes of each: with one it is the ground's
POOLINGS = ("max", "attention")


@dataclass(frozen=True)
class Layout:
    """What a network is made of.

    Attributes:
        cells: of the grid along each side of the box that it is trained on, a multiple of 2^(depth - 1).
        grid: channels of the grid at its finest level; 0 is a network of planes alone.
        depth: levels of the grid's U-Net, each half as fine, with twice the channels.
        planes: 0, 1 (seen from above) or 3.
        finer: cells of a plane along a cell of the grid.
        plane: channels of the planes at their finest level.
        plane_depth: levels of the planes' U-Nets.
        width: channels of a point's features.
        blocks: of the point network.
        decoder: width of the decoder.
        decoder_blocks: of it; features are injected before each.
        neighbours: points that a query attends to; 0 leaves it the lattices' features alone.
        pooling: how a cell sums up its points: "max", or "attention" by weights that are learnt.
        places: whether points and queries know where in the box they are: not in networks whose box is a window of a scene.
    """

    cells: int = 16
    grid: int = 24
    depth: int = 3
    planes: int = 3
    finer: int = 2
    plane: int = 16
    plane_depth: int = 4
    width: int = 32
    blocks: int = 3
    decoder: int = 32
    decoder_blocks: int = 3
    neighbours: int = 12
    pooling: Literal["max", "attention"] = "max"
    places: bool = True

    def __post_init__(self):
        if self.planes not in AXES or self.pooling not in POOLINGS:
            raise InputError(f"planes must be one of {tuple(AXES)} and pooling one of {POOLINGS}, got {self.planes} and {self.pooling!r}")
        if not (self.grid or self.planes):
            raise InputError("a network needs a grid or planes, got grid = 0 and planes = 0")
        for cells, depth, name in ((self.cells, self.depth, "depth"), (self.cells * self.finer, self.plane_depth, "plane_depth")):
            if cells % 2 ** (depth - 1):
                raise InputError(f"{cells} cells can't be halved {name} - 1 = {depth - 1} times")

    @property
    def stride(self) -> int:
        """Cells of the grid that a window of a scene is a multiple of."""
        return 2 ** (self.depth - 1)

    def as_dict(self) -> dict[str, Any]:
        """For the file of weights; Layout(**known) takes it back."""
        return asdict(self)


LAYOUTS = {
    "objects": Layout(depth=4),
    "scenes": Layout(cells=32, grid=16, depth=4, planes=0, places=False),
}
