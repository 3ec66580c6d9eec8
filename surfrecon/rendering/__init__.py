"""What image methods share: rays of pixels, samples of rays, and what rays see of them."""

from surfrecon.rendering.rays import Rays, pixel_centers, pixel_rays
from surfrecon.rendering.volume import Rendering, over, points, render, spherical_harmonics

__all__ = ["Rays", "Rendering", "over", "pixel_centers", "pixel_rays", "points", "render", "spherical_harmonics"]
