"""Rays of pixels: projecting their points gives the pixels back."""

import math

import pytest
import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.rendering import pixel_centers, pixel_rays

INTRINSICS = torch.tensor([[300.0, 4.0, 161.0], [0.0, 280.0, 118.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def poses(count: int, generator: torch.Generator) -> Tensor:
    """(count, 3, 4) rotations and translations."""
    rotation = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))[0]
    rotation *= torch.linalg.det(rotation)[:, None, None]
    return torch.cat([rotation, torch.randn(count, 3, 1, generator=generator, dtype=torch.float64)], dim=2)


def projected(x: Tensor, intrinsics: Tensor, cam_from_world: Tensor) -> Tensor:
    in_camera = (cam_from_world[..., :3] @ x[..., None])[..., 0] + cam_from_world[..., 3]
    assert (in_camera[:, 2] > 0).all()
    image = (intrinsics @ in_camera[..., None])[..., 0]
    return image[:, :2] / image[:, 2:]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("of_each", [False, True], ids=["one camera", "a camera a ray"])
def test_points_on_rays_project_to_their_pixels(of_each, generator):
    pixels = 300 * torch.rand(50, 2, generator=generator, dtype=torch.float64)
    pose = poses(50, generator) if of_each else poses(1, generator)[0]
    focal = 1 + torch.rand(50, 1, 1, generator=generator, dtype=torch.float64)
    intrinsics = INTRINSICS * torch.where(INTRINSICS == 1, 1.0, focal) if of_each else INTRINSICS
    origins, directions = pixel_rays(pixels, intrinsics, pose)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(50, dtype=torch.float64))
    for t in (0.1, 5.0):
        torch.testing.assert_close(projected(origins + t * directions, intrinsics, pose), pixels, rtol=0, atol=1e-10)
    torch.testing.assert_close((pose[..., :3] @ origins[..., None])[..., 0] + pose[..., 3], torch.zeros(50, 3, dtype=torch.float64))


def test_middle_of_a_camera_without_a_pose_looks_along_z():
    intrinsics = torch.tensor([[100.0, 0, 2], [0, 100, 1.5], [0, 0, 1]])
    pixels = pixel_centers(4, 3)
    origins, directions = pixel_rays(pixels, intrinsics, torch.eye(3, 4))
    assert pixels.tolist()[:5] == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [3.5, 0.5], [0.5, 1.5]] and not origins.any()
    middle = pixel_rays(torch.tensor([[2.0, 1.5]]), intrinsics, torch.eye(3, 4))
    assert middle.directions.tolist() == [[0, 0, 1]]
    assert (directions[:4, 1] < 0).all() and (directions[::4, 0] < 0).all()  # y down, x to the right
    corner = pixel_rays(torch.tensor([[102.0, 1.5]]), intrinsics, torch.eye(3, 4)).directions[0]
    torch.testing.assert_close(corner, torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5)]))


def test_poses_and_intrinsics_get_gradients(generator):
    pixels = 300 * torch.rand(3, 2, generator=generator, dtype=torch.float64)
    inputs = pixels.requires_grad_(), INTRINSICS.clone().requires_grad_(), poses(3, generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: tuple(pixel_rays(*given)), inputs)


def test_no_pixels_have_no_rays():
    origins, directions = pixel_rays(torch.zeros(0, 2), INTRINSICS.float(), torch.eye(3, 4))
    assert origins.shape == directions.shape == (0, 3)


@pytest.mark.parametrize(
    ("pixels", "intrinsics", "pose", "said"),
    [
        (torch.zeros(5, 3), torch.eye(3), torch.eye(3, 4), r"pixels must be \(any, 2\).*got \(5, 3\)"),
        (torch.zeros(5, 2, dtype=torch.int64), torch.eye(3), torch.eye(3, 4), "pixels must be .*floating dtype, got .*int64"),
        (torch.zeros(5, 2), torch.eye(4), torch.eye(3, 4), r"intrinsics must be \(3, 3\) or \(5, 3, 3\)"),
        (torch.zeros(5, 2), torch.eye(3), torch.eye(4), r"cam_from_world must be \(3, 4\) or \(5, 3, 4\).*got \(4, 4\)"),
        (torch.zeros(5, 2), torch.eye(3).double(), torch.eye(3, 4), "intrinsics must be .*float32.*got.*float64"),
        (torch.zeros(5, 2), torch.eye(3), torch.zeros(4, 3, 4), r"cam_from_world must be .*got \(4, 3, 4\)"),
    ],
)
def test_what_cannot_be_taken_is_named(pixels, intrinsics, pose, said):
    with pytest.raises(InputError, match=said):
        pixel_rays(pixels, intrinsics, pose)
