"""Photographs without cameras: found, kept as a COLMAP model, used again by a run that resumes; refused in a sentence."""

import sys

import numpy as np
import pytest
from arc import ellipsoid
from PIL import Image
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError, MissingDependencyError
from surfrecon.io import read_views
from surfrecon.run import Run
from surfrecon.sfm import structure_from_motion

COUNT = 9


@pytest.fixture(scope="module")
def truth():
    return ellipsoid(36, focal=480.0, size=(320, 240))[:COUNT]


@pytest.fixture(scope="module")
def photographs(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate(truth.images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def made(photographs, tmp_path_factory):
    pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")
    folder, run = tmp_path_factory.mktemp("made") / "run", Run(threads=1)
    return structure_from_motion(photographs, folder=folder, run=run), folder, run


def test_cameras_are_those_of_the_photographs_but_for_frame_and_scale(made, truth):
    views, _, run = made
    assert run.facts == {"photographs": COUNT, "registered": COUNT} and not run.warnings
    apart = lambda rotations: Rotation.from_matrix(rotations[1:] @ rotations[:-1].transpose(0, 2, 1)).magnitude()
    np.testing.assert_allclose(apart(views.cam_from_world[:, :, :3]), apart(truth.cam_from_world[:, :, :3]), atol=np.radians(2))


def test_model_is_read_again_with_its_photographs(made, photographs):
    views, folder, _ = made
    again = read_views(folder / "sparse", photographs=photographs)
    np.testing.assert_array_equal(again.cam_from_world, views.cam_from_world)
    assert sorted(path.name for path in folder.iterdir()) == ["sparse"]
    with pytest.raises(InputError, match="it names the image"):
        read_views(folder / "sparse")


def test_finished_model_is_used_again_by_a_run_that_resumes(made, photographs, monkeypatch):
    views, folder, _ = made
    monkeypatch.setitem(sys.modules, "pycolmap", None)  # nothing is computed
    again = structure_from_motion(photographs, folder=folder, run=Run(resume=True))
    np.testing.assert_array_equal(again.cam_from_world, views.cam_from_world)


def test_same_photographs_give_the_same_cameras_with_any_number_of_threads(made, photographs, tmp_path):
    again = structure_from_motion(photographs, folder=tmp_path, run=Run(threads=2))
    np.testing.assert_array_equal(again.cam_from_world, made[0].cam_from_world)


def test_missing_pycolmap_is_told_with_its_install_line(photographs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install surfrecon\[sfm\]"):
        structure_from_motion(photographs, folder=tmp_path)


def test_photographs_that_share_nothing_are_refused_and_nothing_is_left(tmp_path):
    pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")
    for number in range(3):
        Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match="no photographs that fit together"):
        structure_from_motion(tmp_path, folder=tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_two_photographs_are_too_few(photographs, tmp_path):
    for name in ("00.png", "01.png"):
        (tmp_path / name).write_bytes((photographs / name).read_bytes())
    with pytest.raises(InputError, match="at least 3 photographs, there are 2"):
        structure_from_motion(tmp_path, folder=tmp_path / "run")
    with pytest.raises(InputError, match="needs a folder"):
        structure_from_motion(tmp_path / "00.png", folder=tmp_path / "run")
