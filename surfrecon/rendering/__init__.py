"""What image methods share: rays of pixels, samples of rays, and what rays see of them."""

from surfrecon.rendering.rays import Rays, pixel_centers, pixel_rays
from surfrecon.rendering.sampling import Crossings, Occupancy, band, first_crossings
from surfrecon.rendering.volume import Rendering, over, points, render, spherical_harmonics

__all__ = [
    "Crossings",
    "Occupancy",
    "Rays",
    "Rendering",
    "band",
    "first_crossings",
    "over",
    "pixel_centers",
    "pixel_rays",
    "points",
    "render",
    "spherical_harmonics",
]
