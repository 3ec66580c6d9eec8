"""surfrecon render: pictures of meshes and scans, read back with Pillow."""

import numpy as np
import pytest
from PIL import Image

from surfrecon.io import read_mesh

SMALL = ("--size", "60x40")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_six_sides_of_a_mesh(result, tmp_path, surfrecon):
    ended = surfrecon("render", result, "-o", tmp_path / "six.png", *SMALL, "--json")
    assert ended.code == 0 and ended.json["size"] == [180, 80]
    assert pixels(tmp_path / "six.png").shape == (80, 180, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["six.png"]


def test_one_view_shows_a_disc_in_the_middle(result, tmp_path, surfrecon):
    assert surfrecon("render", result, "-o", tmp_path / "one.png", *SMALL, "--views", "one").code == 0
    ink = (pixels(tmp_path / "one.png") < 250).any(-1)
    assert ink[20, 30] and not ink[0, 0]
    rows, columns = ink.any(1).sum(), ink.any(0).sum()
    assert rows == pytest.approx(columns, abs=2) and ink.sum() == pytest.approx(np.pi / 4 * rows * columns, rel=0.1)


def test_a_scan_is_drawn_by_its_points(sphere, tmp_path, surfrecon):
    assert surfrecon("render", sphere.file, "-o", tmp_path / "scan.png", *SMALL, "--views", "one").code == 0
    picture = pixels(tmp_path / "scan.png")
    assert (picture[20, 30] < 250).all() and np.ptp(picture[20, 30]) < 20  # grey


def test_scalars_are_painted_on_a_scale_that_is_told(result, tmp_path, surfrecon):
    ended = surfrecon("render", result, "-o", tmp_path / "c.png", *SMALL, "--views", "one", "--color", "confidence")
    assert "confidence from 0 (dark) to 1 (yellow)" in ended.out
    _, green, blue = pixels(tmp_path / "c.png")[15, 28]
    assert green > blue + 50  # a sphere that is seen all around is confident, that is yellow to green


def test_normals_are_painted_as_colours(result, tmp_path, surfrecon):
    assert surfrecon("render", result, "-o", tmp_path / "n.png", *SMALL, "--color", "normals").code == 0
    front, right = pixels(tmp_path / "n.png")[20, [30, 90]]
    assert front[1] < front[0] and right[0] > right[1]  # normals along -y, then along +x


def test_colors_of_a_scan_are_taken_unless_grey_is_asked_for(sphere, tmp_path, surfrecon):
    table = np.column_stack([sphere.points, np.tile([255, 40, 0], (len(sphere.points), 1))])
    np.savetxt(tmp_path / "red.xyz", table, fmt=["%.6f"] * 3 + ["%d"] * 3)
    for name, options in (("red.png", ()), ("grey.png", ("--color", "grey"))):
        assert surfrecon("render", tmp_path / "red.xyz", "-o", tmp_path / name, *SMALL, "--views", "one", *options).code == 0
    assert np.ptp(pixels(tmp_path / "red.png")[20, 30]) > 50
    assert np.ptp(pixels(tmp_path / "grey.png")[20, 30]) < 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "picture.jpg"), "can't write .jpg; choose one of .png"),
        (("-o", "there.png"), "exists; add --overwrite"),
        (("-o", "new.png", "--color", "height"), "has no 'height' to paint; it has grey, normals, confidence"),
    ],
)
def test_what_can_not_be_drawn_is_refused_and_nothing_written(arguments, said, result, tmp_path, monkeypatch, surfrecon):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_text("mine")
    ended = surfrecon("render", result, *arguments)
    assert (ended.code, ended.out) == (2, "") and said in ended.err
    assert [file.name for file in tmp_path.iterdir()] == ["there.png"] and (tmp_path / "there.png").read_text() == "mine"


def test_overwrite_replaces(result, tmp_path, surfrecon):
    assert read_mesh(result).colors is None
    (tmp_path / "there.png").write_text("old")
    assert surfrecon("render", result, "-o", tmp_path / "there.png", *SMALL, "--views", "one", "--overwrite").code == 0
    assert pixels(tmp_path / "there.png").shape == (40, 60, 3)
