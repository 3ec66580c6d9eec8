"""Pixels out of image files: every kind that cameras and tools write, and files made to harm."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from surfrecon.errors import InputError
from surfrecon.io.views.pixels import MOST_PIXELS, read_depth, read_image, read_mask, size_of

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.dstack([GREY, GREY[::-1], GREY.T])


def test_colours_pass_through_and_grey_stays_grey(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    Image.fromarray(GREY).save(tmp_path / "b.bmp")
    for name, pixels in (("a.png", COLOUR), ("b.bmp", GREY)):
        found, alpha = read_image(tmp_path / name)
        assert (found == pixels).all() and alpha is None
    assert size_of(tmp_path / "a.png") == (16, 16)


def test_16_bit_grey_becomes_8_bit_by_its_highest_digits(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png")[0] == GREY).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_told_apart_from_colour(tmp_path, mode):
    alpha = np.where(GREY > 99, 255, 0).astype(np.uint8)
    if mode == "P":
        image = Image.fromarray(GREY).convert("P")
        image.save(tmp_path / "a.png", transparency=7)
        alpha = np.where(GREY == 7, 0, 255)
    else:
        Image.fromarray(np.dstack([COLOUR, alpha]) if mode == "RGBA" else np.dstack([GREY, alpha]), mode=mode).save(tmp_path / "a.png")
    pixels, found = read_image(tmp_path / "a.png")
    assert (found == alpha).all() and pixels.shape == (16, 16, 3)
    if mode == "RGBA":
        assert (pixels == COLOUR).all()


def test_the_turn_that_a_camera_noted_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(COLOUR[:8]).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png")[0] == COLOUR[:8]).all()


def test_masks_are_bright_or_opaque(tmp_path):
    inside = GREY > 99
    Image.fromarray(inside).save(tmp_path / "one_bit.png")
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([COLOUR * 0, np.where(inside, 255, 0).astype(np.uint8)])).save(tmp_path / "alpha.png")
    Image.fromarray(np.dstack([COLOUR * 0, np.where(inside, 255, 0).astype(np.uint8)])[:, :, [3, 0, 0]]).save(tmp_path / "red.png")
    for name in ("one_bit", "grey", "alpha", "red"):
        assert (read_mask(tmp_path / f"{name}.png") == inside).all()


def test_depth_is_zero_where_a_sensor_saw_nothing(tmp_path):
    steps = np.array([[0, 1, 1000], [65535, 2500, 65534]], np.uint16)
    Image.fromarray(steps).save(tmp_path / "a.png")
    expected = np.array([[0, 0.001, 1], [0, 2.5, 65.534]], np.float32)
    assert (read_depth(tmp_path / "a.png", 1e-3) == expected).all()
    np.save(tmp_path / "a.npy", np.array([[[np.nan], [np.inf]], [[-1.0], [2.0]]]))
    assert (read_depth(tmp_path / "a.npy", 0.5) == [[0, 0], [0, 1]]).all()


# files made to harm ---------------------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A grey PNG of a few hundred bytes that says it has any size."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**5))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(MOST_PIXELS // 1000 + 1, 1000), (2**31 - 1, 2**31 - 1), (10**6, 10**6)], ids=["just", "most", "square"])
@pytest.mark.parametrize(
    "read", [read_image, read_mask, size_of, lambda path: read_depth(path, 1.0)], ids=["image", "mask", "size", "depth"]
)
def test_bombs_are_refused_by_their_header(tmp_path, read, size, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("a pixel was decoded"))
    with pytest.raises(InputError, match=r"bomb.png (says it (is|holds)|is damaged)"):
        read(tmp_path / "bomb.png")


def test_npy_bombs_and_pickles_are_refused_by_their_header(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    np.save(tmp_path / "b.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.zeros(3))
    for name, words in (("a", "more than the file's"), ("b", "Python objects"), ("c", r"expected numbers of shape \(H, W\), got \(3,\)")):
        with pytest.raises(InputError, match=rf"{name}.npy is .*{words}"):
            read_depth(tmp_path / f"{name}.npy", 1.0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp", "ppm"])
def test_each_beginning_of_an_image_is_refused_or_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path)
    whole, refused = path.read_bytes(), 0
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        try:
            read_image(path)
        except InputError as error:
            assert str(error).startswith(f"a.{suffix} is damaged or no image") and "\n" not in str(error)
            refused += 1
    assert refused > 3


def test_programs_in_postscript_are_not_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"a.png is damaged or no image of PNG, JPEG"):
        read_image(tmp_path / "a.png")
