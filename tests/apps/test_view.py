"""surfrecon view: pictures of the window, each by a process of its own on a virtual display, and what is answered where there is none."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from solids import ball

from surfrecon.geometry import Mesh, PointCloud, directions_around
from surfrecon.io import write_mesh, write_scan

LIMIT = 120  # seconds for one window; Open3D takes up to 10 to load
FAR = np.array([8e5, 5.8e6, 100.0])
SIZE = ("--size", "320x240")
RED, BLUE = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.9])


def loads_open3d() -> bool:
    if importlib.util.find_spec("open3d") is None:
        return False
    return subprocess.run([sys.executable, "-c", "import open3d"], capture_output=True, timeout=LIMIT).returncode == 0


@pytest.fixture(scope="module")
def display():
    """The environment of a process that has a display."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb isn't installed: apt-get install xvfb")
    if not loads_open3d():
        pytest.skip("Open3D isn't installed, or can't be loaded")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield bare() | {"DISPLAY": f":{number}"}
    server.terminate()
    server.wait()


def bare(**more) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")} | more


def called(*arguments, environment, code: int = 0):
    command = [sys.executable, "-m", "surfrecon.apps.cli", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3 * LIMIT, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """At UTM coordinates a red ball, its points in blue, and the truth, a ball 0.1 higher."""
    folder = tmp_path_factory.mktemp("view")
    mesh = ball(1.0, FAR)
    height = (mesh.vertices[:, 2] - FAR[2]).astype(np.float32)
    colors = np.tile(RED, (len(mesh.vertices), 1))
    write_mesh(Mesh(mesh.vertices, mesh.faces, colors=colors, scalars={"confidence": height}), folder / "red.ply")
    points = FAR + 1.3 * directions_around(3000)
    write_scan(PointCloud(points, colors=np.tile(BLUE, (len(points), 1))), folder / "blue.ply")
    write_mesh(ball(1.0, FAR + np.array([0, 0, 0.1])), folder / "truth.ply")
    return folder


@pytest.fixture(scope="module")
def shot(display, files, tmp_path_factory):
    """shot("red.ply", press="X") -> (240, 320, 3) what the window shows, in [0, 1]."""

    def take(*names, press: str = "", more=()):
        picture = tmp_path_factory.mktemp("shot") / "a.png"
        items = [files / name for name in names]
        called("view", *items, "--screenshot", picture, "--press", press, *SIZE, *more, environment=display)
        with Image.open(picture) as image:
            return np.asarray(image.convert("RGB")) / 255

    return take


def ink(picture, channel: int | None = None):
    """(H, W) pixels that aren't white; or those whose strongest channel this is, clearly."""
    drawn = (picture < 0.97).any(-1)
    if channel is None:
        return drawn
    others = np.delete(picture, channel, axis=-1).max(-1)
    return drawn & (picture[..., channel] > others + 0.2)


def test_mesh_is_a_disc_of_its_own_colour_at_large_coordinates(shot):
    picture = shot("red.ply")
    drawn = ink(picture)
    rows, columns = drawn.any(1).sum(), drawn.any(0).sum()
    assert rows > 60 and abs(int(rows) - int(columns)) <= 0.1 * rows and drawn.sum() == pytest.approx(np.pi / 4 * rows * columns, rel=0.05)
    assert ink(picture, 0).sum() > 0.9 * drawn.sum()


def test_mesh_without_colours_is_lit(shot):
    picture = shot("truth.ply")
    grey = picture[ink(picture)]
    assert np.ptp(grey, axis=1).max() < 0.05 and grey.std() > 0.05


def test_points_and_mesh_are_switched_on_and_off(shot):
    both, mesh, points = shot("red.ply", "blue.ply"), shot("red.ply", "blue.ply", press="1"), shot("red.ply", "blue.ply", press="2")
    assert ink(both, 0).any() and ink(both, 2).any()
    assert ink(mesh, 0).any() and not ink(mesh, 2).any()
    assert ink(points, 2).any() and not ink(points, 0).any()


def test_section_takes_away_half_and_its_keys_move_it(shot):
    whole, half, less, other = (ink(shot("red.ply", press=keys)).sum() for keys in ("", "Z", "Z,,,,,", "ZV,,,,,"))
    assert less < half < whole and other > less  # seen from above, the lower half shows its inside as well
    assert less < 0.9 * whole


def test_wireframe_draws_lines_on_the_faces(shot):
    assert (shot("red.ply", press="W")[ink(shot("red.ply"))].mean()) < 0.8 * shot("red.ply")[ink(shot("red.ply"))].mean()


def test_normals_and_confidence_have_colours_of_their_own(shot):
    normals = shot("red.ply", press="N")
    assert set(normals[ink(normals)].argmax(-1)) == {0, 2}  # the sides that are seen look along +x, -y and +z
    confidence = shot("red.ply", press="F")  # yellow at the top, dark below
    rows = np.flatnonzero(ink(confidence).any(1))
    upper, lower = (confidence[row][ink(confidence)[row]].mean(0) for row in (rows[len(rows) // 5], rows[-len(rows) // 5]))
    assert upper[1] > lower[1] + 0.2


def test_error_is_dark_where_the_truth_is_near(shot, files):
    picture = shot("red.ply", press="E", more=("--truth", files / "truth.ply"))  # 0.1 off at the poles, nothing at the equator
    rows = np.flatnonzero(ink(picture).any(1))
    top, middle = (picture[row][ink(picture)[row]].mean(0) for row in (rows[len(rows) // 6], rows[2 * len(rows) // 3]))
    assert top[1] > middle[1] + 0.2


def test_missing_display_is_answered_with_4_and_the_package(files):
    for environment, said in ((bare(), "there is no display"), (bare(DISPLAY=":4711"), "the display :4711 can't be reached")):
        done = called("view", files / "red.ply", environment=environment, code=4)
        assert said in done.stderr and "apt-get install xvfb" in done.stderr and done.stderr.count("\n") == 1


def test_missing_opengl_is_answered_with_4_and_the_package(display, files, tmp_path):
    environment = bare(__EGL_VENDOR_LIBRARY_FILENAMES=str(tmp_path / "none.json"))
    done = called("view", files / "red.ply", "--screenshot", tmp_path / "a.png", environment=environment, code=4)
    assert "apt-get install xvfb libgl1 libgl1-mesa-dri" in done.stderr and not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ModuleNotFoundError(\"No module named 'open3d'\", name='open3d')", "pip install surfrecon[open3d]"),
        ("OSError('libusb-1.0.so.0: cannot open shared object file')", "apt-get install libusb-1.0-0"),
        ("ImportError('libGL.so.1: cannot open shared object file')", "apt-get install libgl1"),
        ("ImportError('undefined symbol')", "install it anew: pip install surfrecon[open3d]"),
    ],
)
def test_open3d_that_does_not_load_is_answered_with_4_and_what_to_install(raised, said, files, tmp_path):
    (tmp_path / "open3d.py").write_text(f"raise {raised}\n")
    environment = bare(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = called("view", files / "red.ply", "--screenshot", tmp_path / "a.png", environment=environment, code=4)
    assert said in done.stderr and done.stderr.count("\n") == 1 and not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.ply",), "there is no such file"),
        (("red.ply", "--press", "E"), "name one with --truth FILE"),
        (("red.ply", "--press", "x?"), "--press knows no key '?'"),
        (("red.ply", "--truth", "none.ply"), "there is no such file"),
    ],
)
def test_what_can_not_be_viewed_is_refused_in_one_sentence(arguments, said, files, tmp_path, monkeypatch, surfrecon):
    monkeypatch.chdir(files)
    ended = surfrecon("view", *arguments, "--screenshot", tmp_path / "a.png")
    assert (ended.code, ended.out) == (2, "") and said in ended.err and ended.err.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def test_json_tells_of_the_picture(display, files, tmp_path):
    done = called("view", files / "red.ply", "--screenshot", tmp_path / "a.png", "--press", "N", *SIZE, "--json", environment=display)
    assert json.loads(done.stdout) == {"picture": str(tmp_path / "a.png"), "size": [320, 240], "paint": "normals"}


def test_window_of_a_run_shows_surfaces_and_changes_nothing(display, sphere, quick, tmp_path):
    meshes = [tmp_path / "plain.ply", tmp_path / "viewed.ply"]
    called("scan", sphere.file, "-o", meshes[0], *quick, environment=bare())
    done = called("scan", sphere.file, "-o", meshes[1], *quick, "--view", "-v", environment=display)
    assert int(re.search(r"the window showed (\d+) surfaces", done.stderr)[1]) >= 1
    assert meshes[0].read_bytes() == meshes[1].read_bytes()


def test_closing_the_window_lets_the_run_go_on(display, monkeypatch):
    from surfrecon.apps import preview
    from surfrecon.run import Step

    monkeypatch.setenv("DISPLAY", display["DISPLAY"])
    monkeypatch.setattr(preview, "INTERVAL", 0.0)
    monkeypatch.setattr("surfrecon.extract.marching_cubes", lambda field, resolution: ball(level=3))
    with preview.Preview() as watch:
        watch(Step("fit", surface="any"))
        assert watch.shown == 1
        watch.window.kill()
        for _ in range(3):
            watch.due = 0.0
            watch(Step("fit", surface="any"))
            time.sleep(0.1)
    assert watch.window.returncode is not None


def test_run_that_can_not_open_its_window_ends_with_4_before_the_work(sphere, tmp_path):
    done = called("scan", sphere.file, "-o", tmp_path / "mesh.ply", "--view", environment=bare(), code=4)
    assert "there is no display" in done.stderr and not list(tmp_path.iterdir())
