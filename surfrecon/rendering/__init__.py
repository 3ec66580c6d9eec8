"""What image methods share: rays of pixels, samples of rays, and what rays see of them."""

from surfrecon.rendering.rays import Rays, pixel_centers, pixel_rays

__all__ = ["Rays", "pixel_centers", "pixel_rays"]
