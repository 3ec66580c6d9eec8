"""What is written reads back: the same names, pixels, masks and cameras, whatever the format."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from surfrecon.data_tools import convert_views
from surfrecon.data_tools.view_writers import FORMATS, new_folder, write_views
from surfrecon.errors import InputError
from surfrecon.io import read_views
from surfrecon.views import Views

sys.path.append(str(Path(__file__).parents[1] / "io/views"))
from scene import WRITERS

ROUNDING = {"transforms": 1e-14, "colmap": 1e-14, "idr": 1e-11}  # idr holds K [R | t] as one matrix, to be factored again


@pytest.fixture
def views() -> Views:
    rng = np.random.default_rng(0)
    count, sizes = 5, [(40, 30), (40, 30), (32, 48), (40, 30), (40, 30)]
    rotations = Rotation.random(count, random_state=1).as_matrix()
    place = rng.uniform(-1, 1, (count, 2)), np.full(count, 5.0)
    return Views(
        images=tuple(rng.integers(0, 256, (h, w, 3), np.uint8) for w, h in sizes),
        intrinsics=np.array([[[50 + v, 0, w / 2 + 0.3 * v], [0, 51.5, h / 2 - 1.7], [0, 0, 1]] for v, (w, h) in enumerate(sizes)]),
        cam_from_world=np.concatenate([rotations, np.column_stack(place)[:, :, None]], axis=2),
        masks=tuple(np.hypot(*(np.indices((h, w)) - np.array([h, w])[:, None, None] / 2)) < 13 for w, h in sizes),
        depths=tuple(np.where(rng.random((h, w)) < 0.5, rng.uniform(1, 9, (h, w)), 0).astype(np.float32) for w, h in sizes),
        points=rng.normal(0, 1, (7, 3)),
        names=tuple(f"{v:03d}.png" for v in range(count)),
    )


def same(got: Views, wanted: Views, tolerance: float) -> None:
    np.testing.assert_allclose(got.cam_from_world, wanted.cam_from_world, atol=tolerance * max(1, np.abs(wanted.cam_from_world).max()))
    np.testing.assert_allclose(got.intrinsics, wanted.intrinsics, atol=tolerance * 100)
    assert all(np.array_equal(a, b) for a, b in zip(got.images, wanted.images))
    assert (got.masks is None) == (wanted.masks is None)
    assert wanted.masks is None or all(np.array_equal(a, b) for a, b in zip(got.masks, wanted.masks))


@pytest.mark.parametrize("masked", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_reads_back_as_it_was(tmp_path, views, format, masked):
    views = views if masked else replace(views, masks=None)
    notes = write_views(views, tmp_path / "out", format)
    got = read_views(tmp_path / "out", check=False)
    same(got, views, ROUNDING[format])
    assert got.names == views.names
    lost = [kind for kind in ("depths", "points") if getattr(got, kind) is None]
    assert lost == {"transforms": [], "colmap": ["depths"], "idr": ["depths", "points"]}[format] and len(notes) == len(lost)
    if got.depths is not None:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got.depths, views.depths))
    if got.points is not None:
        np.testing.assert_allclose(got.points, views.points, atol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_whatever_is_read_can_be_converted(tmp_path, write, format):
    (tmp_path / "in").mkdir()
    source = write(tmp_path / "in")
    assert convert_views.main([str(source), str(tmp_path / "out"), "--format", format, "--no-check"]) == 0
    before, after = (read_views(path, check=False) for path in (source, tmp_path / "out"))
    same(after, before, ROUNDING[format])


def test_a_frame_far_from_the_origin_keeps_its_poses(tmp_path, views):
    rotation, centres = views.cam_from_world[:, :, :3], views.centres + np.array([8e5, 5.8e6, 300])
    far = replace(views, cam_from_world=np.dstack([rotation, -np.einsum("vij,vj->vi", rotation, centres)]))
    for format in ("transforms", "colmap"):
        write_views(far, tmp_path / format, format)
        np.testing.assert_allclose(read_views(tmp_path / format, check=False).centres, far.centres, atol=1e-8)


def test_names_that_formats_cannot_have_are_changed_but_never_their_order(tmp_path, views):
    named = replace(views, names=("b/1.jpg", "b/10.jpg", "a/2.PNG", "a/x y.jpg", "z.jpg"))
    for format in FORMATS:
        write_views(named, tmp_path / format, format)
    assert sorted(read_views(tmp_path / "transforms", check=False).names) == ["a/2.PNG", "a/x y.png", "b/1.png", "b/10.png", "z.png"]
    same(read_views(tmp_path / "transforms", check=False), named, 1e-12)
    got = read_views(tmp_path / "idr", check=False)
    same(got, named, 1e-11)
    assert got.names == ("000.png", "001.png", "002.png", "003.png", "004.png")
    colmap = read_views(tmp_path / "colmap", check=False)
    order = [colmap.names.index(name) for name in ("b/1.png", "b/10.png", "a/2.PNG", "a/x y.png", "z.png")]
    same(colmap[order], named, 1e-12)


def test_two_names_that_would_meet_stay_apart(tmp_path, views):
    write_views(replace(views, names=("a.jpg", "a.png", "b.png", "c.png", "d.png")), tmp_path / "out")
    assert read_views(tmp_path / "out", check=False).names[:2] == ("a.jpg.png", "a.png.png")


def test_skew_is_kept_where_the_format_can_and_refused_where_not(tmp_path, views):
    k = views.intrinsics.copy()
    k[2, 0, 1] = 1.5
    skewed = replace(views, intrinsics=k)
    for format in ("transforms", "idr"):
        write_views(skewed, tmp_path / format, format)
        same(read_views(tmp_path / format, check=False), skewed, 1e-11)
    with pytest.raises(InputError, match=r"002\.png has a skew of 1\.5"):
        write_views(skewed, tmp_path / "colmap", "colmap")
    assert not (tmp_path / "colmap").exists() and len(list(tmp_path.iterdir())) == 2  # nothing half-written


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "C:/x.png"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, views, name):
    with pytest.raises(InputError, match="inside its own folder"):
        write_views(replace(views, names=(name, *views.names[1:])), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path, views):
    (tmp_path / "out").mkdir()
    write_views(views, tmp_path / "out")  # an empty one will do
    with pytest.raises(InputError, match="not empty"):
        write_views(views, tmp_path / "out")
    with pytest.raises(InputError, match="no format 'nerf'"):
        write_views(views, tmp_path / "other", "nerf")
    with pytest.raises(InputError, match="cannot be written"), new_folder(tmp_path / "no/such"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "new") as part:
        (part / "file").write_text("x")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert convert_views.main([str(tmp_path / "missing"), str(tmp_path / "new")]) == 2
