"""report.html in a real browser: its mesh is drawn and can be painted, nothing leaves the page, and it does without WebGL."""

import re

import numpy as np
import pytest
from browser import Browser, executable
from conftest import write_xyz

from surfrecon.apps.cli import main

pytestmark = pytest.mark.skipif(executable() is None, reason="there is no Chromium here: apt-get install chromium")

# Share of pixels that are drawn upon, and their mean red, green and blue in [0, 1].
LOOK = """(() => {
  const from = document.getElementById("canvas"), to = document.createElement("canvas");
  [to.width, to.height] = [from.width, from.height];
  const pen = to.getContext("2d");
  pen.drawImage(from, 0, 0);
  const pixels = pen.getImageData(0, 0, to.width, to.height).data, sums = [0, 0, 0];
  let drawn = 0;
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 3] > 128) { drawn++; for (let c = 0; c < 3; c++) sums[c] += pixels[i + c] / 255; }
  return [(4 * drawn) / pixels.length, ...sums.map((sum) => sum / drawn)];
})()"""
FRAMES = "Number(document.getElementById('canvas').dataset.drawn || 0)"


def look(browser: Browser, after: str | None = None) -> np.ndarray:
    """What is drawn now, or in the first frame after something was done."""
    if after:
        before = browser.value(FRAMES)
        browser.value(f"void ({after})")
        browser.wait(f"{FRAMES} > {before}")
    return np.array(browser.value(LOOK))


def check_quiet(browser: Browser, file) -> None:
    """The page has said nothing and asked for nothing beyond itself."""
    assert browser.said == []
    assert {url for url in browser.requests if not url.startswith("data:")} == {file.resolve().as_uri()}


@pytest.fixture
def opened(result, tmp_path):
    with Browser(tmp_path) as browser:
        browser.open(result.parent / "mesh.run" / "report.html")
        browser.wait(f"{FRAMES} > 0")
        yield browser


def test_the_mesh_is_drawn_and_painted_as_asked_for(opened, result):
    share, *grey = look(opened)
    assert 0.15 < share < 0.5 and np.ptp(grey) < 0.1 and 0.3 < np.mean(grey) < 0.95  # a grey ball that fills the height of a wide window
    paint = lambda name: look(opened, f"document.querySelector('[value={name}]').click()")
    _, red, green, blue = paint("confidence")
    assert green > 2 * blue and red > 2 * blue  # yellow: all of it was scanned
    _, *tones = paint("normals")
    assert tones[0] > 0.4 and tones[1] < 0.4  # seen from +x, -y: faces point that way
    _, *bright = paint("colors")
    _, *wired = look(opened, "document.querySelector('[name=wires]').click()")
    assert np.mean(wired) < 0.9 * np.mean(bright)
    check_quiet(opened, result.parent / "mesh.run" / "report.html")


def test_the_mesh_turns_with_the_mouse_and_comes_back(opened):
    canvas = "document.getElementById('canvas')"
    before = look(opened, "document.querySelector('[value=normals]').click()")
    event = lambda kind, x, buttons: (
        f"{canvas}.dispatchEvent(new PointerEvent('{kind}', {{pointerId: 1, pointerType: 'mouse', button: 0, buttons: {buttons}, "
        f"clientX: {x}, clientY: 300, pageX: {x}, pageY: 300, bubbles: true}}))"
    )
    opened.value(f"void ({canvas}.setPointerCapture = () => 0, {canvas}.releasePointerCapture = () => 0)")
    turned = look(opened, ", ".join([event("pointerdown", 400, 1), event("pointermove", 700, 1), event("pointerup", 700, 0)]))
    assert np.abs(turned - before).max() > 0.05
    assert look(opened, "document.querySelector('[name=home]').click()") == pytest.approx(before, abs=0.01)


def test_without_webgl_a_sentence_and_the_pictures_remain(result, tmp_path):
    file = result.parent / "mesh.run" / "report.html"
    with Browser(tmp_path, webgl=False) as browser:
        browser.open(file)
        assert browser.value("document.querySelector('.instead').innerText").startswith("There is no 3D view here")
        assert browser.value("document.getElementById('canvas').clientHeight") == 0
        assert browser.value("[...document.images].every((image) => image.naturalWidth > 100)")
        check_quiet(browser, file)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(width, result, tmp_path):
    with Browser(tmp_path, size=(width, 800)) as browser:
        browser.open(result.parent / "mesh.run" / "report.html")
        assert browser.value("document.documentElement.scrollWidth") == width


def test_dark_and_light_are_the_readers_choice(result, tmp_path):
    ground = {}
    for dark in (False, True):
        with Browser(tmp_path / str(dark), dark=dark) as browser:
            browser.open(result.parent / "mesh.run" / "report.html")
            color = browser.value("getComputedStyle(document.body).backgroundColor")
            ground[dark] = [int(part) for part in re.findall(r"\d+", color)]
    assert max(ground[True]) < 60 and min(ground[False]) > 200


def test_a_hostile_name_is_shown_and_does_nothing(sphere, quick, tmp_path):
    name = "<img src=x onerror=alert(1)>.xyz"
    scan, mesh = write_xyz(tmp_path / name, sphere.points), tmp_path / "<script>alert(1)<.ply"
    assert main(["scan", str(scan), "-o", str(mesh), *quick]) == 0
    file = mesh.with_suffix(".run") / "report.html"
    with Browser(tmp_path / "profile") as browser:
        browser.open(file)
        assert browser.value("document.querySelector('h1').innerText") == mesh.name
        assert name in browser.value("document.body.innerText")
        check_quiet(browser, file)
