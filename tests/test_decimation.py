"""Decimation: solids stay solid, errors are kept to, and what vertices carry goes over."""

import numpy as np
import pytest
from solids import FAR, ball, together, wavy_sheet

from surfrecon.decimation import carried, decimated, decimated_within, deviation
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.repair import inspect


def test_decimation_keeps_a_solid_solid_and_its_volume():
    item = decimated(ball(), 800)
    assert inspect(item).solid and 700 <= len(item.faces) <= 800
    assert item.volume() == pytest.approx(4 / 3 * np.pi, rel=0.02)
    few = ball(level=2)
    assert decimated(few, 5000) is few


def test_where_few_faces_would_tear_a_solid_more_are_kept(monkeypatch):
    import fast_simplification

    honest = fast_simplification.simplify

    def tearing(*arguments, **options):
        points, kept = honest(*arguments, **options)
        return points, kept[:-1]

    monkeypatch.setattr(fast_simplification, "simplify", tearing)
    item = decimated(ball(level=6), 8000)
    assert inspect(item).solid and len(item.faces) <= 40_000
    assert item.volume() == pytest.approx(4 / 3 * np.pi, rel=0.02)


def test_open_sheet_stays_manifold_and_keeps_its_outline():
    item = decimated(wavy_sheet(), 1500)
    report = inspect(item)
    assert report.manifold and not report.closed and report.components == 1 and len(item.faces) <= 1600
    assert np.allclose(item.bounds(), wavy_sheet().bounds(), atol=0.02)


@pytest.mark.parametrize("error", [0.02, 0.002])
def test_surfaces_stay_within_the_error_both_ways(error):
    mesh = ball()
    item = decimated_within(mesh, error)
    assert inspect(item).solid and len(item.faces) < len(mesh.faces) / 2
    assert deviation(item, mesh, seed=7) <= error
    assert np.abs(np.linalg.norm(item.vertices, axis=1) - 1).max() <= error


def test_a_larger_error_takes_fewer_faces():
    assert len(decimated_within(ball(), 0.03).faces) < 0.5 * len(decimated_within(ball(), 0.003).faces)


def test_far_from_the_origin_nothing_changes():
    near, far = decimated(ball(), 1000), decimated(ball(centre=FAR), 1000)
    assert len(far.faces) == pytest.approx(len(near.faces), rel=0.02)
    assert np.abs(np.linalg.norm(far.vertices - FAR, axis=1) - 1).max() < 0.03


def test_deviation_of_spheres_is_the_difference_of_their_radii():
    assert deviation(ball(), ball(1.25)) == pytest.approx(0.25, rel=0.01)
    one = ball()
    assert deviation(one, together(one, ball(0.1, (0, 0, 3)))) == pytest.approx(2.1, rel=0.01)  # both ways


def test_colours_normals_and_fields_come_from_the_nearest_place():
    source = ball()
    linear = (source.vertices + 1) / 2
    fields = {"confidence": linear[:, 2].astype(np.float32), "views": (source.vertices[:, 0] > 0).astype(np.int32)}
    source = Mesh(source.vertices, source.faces, normals=source.vertices, colors=linear, scalars=fields, crs="EPSG:25832")
    item = carried(decimated(source, 1000), source)
    assert np.abs(item.colors - (item.vertices + 1) / 2).max() < 0.02
    assert np.abs(item.scalars["confidence"] - (item.vertices[:, 2] + 1) / 2).max() < 0.02
    assert item.scalars["confidence"].dtype == np.float32 and item.scalars["views"].dtype == np.int32
    assert set(np.unique(item.scalars["views"])) == {0, 1}
    assert np.abs(np.linalg.norm(item.normals, axis=1) - 1).max() < 1e-9
    assert (item.normals * item.vertices).sum(1).min() > 0.99
    assert item.crs == "EPSG:25832"


def test_fields_that_are_unknown_stay_unknown_only_where_they_were():
    source = ball(level=3)
    values = np.where(source.vertices[:, 2] > 0.5, np.nan, 1.0)
    source = Mesh(source.vertices, source.faces, scalars={"depth": values})
    item = carried(ball(level=4), source)
    unknown = np.isnan(item.scalars["depth"])
    assert unknown[item.vertices[:, 2] > 0.6].all() and not unknown[item.vertices[:, 2] < 0.4].any()


def test_carried_values_are_exact_at_the_corners_of_faces_without_area():
    line = Mesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], scalars={"x": np.array([0.0, 1.0, 2.0])})
    asked = Mesh([[0, 1, 0], [0.5, -1, 0], [2, 0, 3]], [[0, 1, 2]])
    assert carried(asked, line).scalars["x"] == pytest.approx([0, 0.5, 2])


def test_error_of_zero_is_refused():
    with pytest.raises(InputError, match="must be > 0"):
        decimated_within(ball(level=2), 0.0)
