"""surfrecon.shape_set: what is written comes back, and what isn't whole is refused."""

import json

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.shape_set import ABOUT, HALF, SHARD, VIEWS, Record, ShapeSet, write_shapes


def records(count, places=16):
    rng = np.random.default_rng(0)
    for number in range(count):
        points = rng.uniform(-0.5, 0.5, (10, 3)).astype(np.float16)
        normals, eyes = rng.integers(-127, 128, (10, 3)).astype(np.int8), rng.normal(size=(VIEWS, 3)).astype(np.float16)
        seen, inside = rng.integers(2**VIEWS, size=10).astype(np.uint16), rng.random(places) < 0.5
        yield Record(points, normals, eyes, seen, rng.uniform(-HALF, HALF, (places, 3)).astype(np.float16), inside, number % 2)


@pytest.mark.parametrize("count", [1, SHARD, SHARD + 3])
def test_a_set_gives_back_every_record(tmp_path, count):
    assert write_shapes(tmp_path / "set", records(count), ["a", "b"], seed=3) == count
    shapes = ShapeSet.read(tmp_path / "set")
    assert len(shapes) == count and shapes.families == ["a", "b"] and shapes.about[0]["seed"] == 3
    for number, record in enumerate(records(count)):
        for one, other in zip(shapes[number], record):
            assert np.array_equal(one, other)


def test_places_that_fill_no_byte_come_back(tmp_path):
    write_shapes(tmp_path / "set", records(2, places=13), ["a", "b"])
    assert np.array_equal(ShapeSet.read(tmp_path / "set")[1].inside, list(records(2, places=13))[1].inside)


def test_sets_are_taken_as_one_with_the_families_of_all(tmp_path):
    write_shapes(tmp_path / "one", records(3), ["a", "b"])
    write_shapes(tmp_path / "two", records(2), ["b", "c"])
    shapes = ShapeSet.read(tmp_path / "one", tmp_path / "two")
    assert [shapes.families[shapes[number].family] for number in range(5)] == ["a", "b", "a", "b", "c"]


def test_a_folder_that_holds_something_is_not_written_into(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="isn't empty"):
        write_shapes(tmp_path, records(1), ["a", "b"])
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / ABOUT).unlink(),
        lambda folder: (folder / ABOUT).write_text("[]"),
        lambda folder: (folder / ABOUT).write_text(json.dumps({"format": 0})),
        lambda folder: (folder / "00000.safetensors").unlink(),
        lambda folder: (folder / "00000.safetensors").write_bytes(b"short"),
        lambda folder: (folder / ABOUT).write_text((folder / ABOUT).read_text().replace('"shapes": 3', '"shapes": 4')),
    ],
)
def test_a_set_that_is_not_whole_is_refused(tmp_path, damage):
    write_shapes(tmp_path / "set", records(3), ["a", "b"])
    damage(tmp_path / "set")
    with pytest.raises(InputError, match="set") as refused:
        ShapeSet.read(tmp_path / "set")
    assert "\n" not in str(refused.value)
