"""What image methods share: rays of pixels, samples of rays, and what rays see of them."""

from surfrecon.rendering.lattice import BAND, Lattice
from surfrecon.rendering.occupancy import Occupancy
from surfrecon.rendering.photographs import Photographs, pixel_width
from surfrecon.rendering.rays import Rays, pixel_centers, pixel_rays
from surfrecon.rendering.volume import Rendering, over, points, render, spherical_harmonics

__all__ = [
    "BAND",
    "Lattice",
    "Occupancy",
    "Photographs",
    "Rays",
    "Rendering",
    "over",
    "pixel_centers",
    "pixel_rays",
    "pixel_width",
    "points",
    "render",
    "spherical_harmonics",
]
