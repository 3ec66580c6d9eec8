"""Checkpoints: what is written comes back, damage is skipped, what belongs elsewhere is refused, and a disk that refuses ends no run."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from surfrecon import checkpoints as module
from surfrecon.checkpoints import GENERATIONS, Checkpoints, remembered, restore
from surfrecon.errors import InputError, ResourceError
from surfrecon.run import Run, Stop


def run(folder: Path | None, *, resume: bool = False, fingerprint: str = "this") -> Run:
    return Run(folder=folder, resume=resume, fingerprint=fingerprint)


def write(folder: Path, *values: float) -> Checkpoints:
    """One state for each value."""
    checkpoints = Checkpoints(run(folder))
    for value in values:
        checkpoints.keep({"x": torch.full((3,), value)}, {"value": value})
        checkpoints.write()
    assert not checkpoints.run.warnings
    return checkpoints


def newest(folder: Path, **options) -> tuple[float | None, list[str]]:
    """The value of the newest whole state, and the warnings on the way."""
    resuming = run(folder, resume=True, **options)
    tensors, facts = Checkpoints(resuming).newest()
    assert torch.equal(tensors["x"], torch.full((3,), facts["value"]))
    return facts["value"], resuming.warnings


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "checkpoints").iterdir())


def test_tensors_of_every_kind_and_facts_come_back_as_they_were(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "values": torch.tensor([0.1, -0.0, float("inf")], requires_grad=True),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "view": base[:, ::2].T,
        "same memory": base[:, ::2],
        "generator": torch.Generator().manual_seed(5).get_state(),
    }
    facts = {"step": 3, "loss": 0.1, "name": "fit 64", "levels": [16, 32]}
    checkpoints = Checkpoints(run(tmp_path))
    checkpoints.keep(tensors, facts)
    checkpoints.write()
    found, told = Checkpoints(run(tmp_path, resume=True)).newest()
    assert told == facts and found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_manifest_holds_version_fingerprint_hash_and_facts(tmp_path):
    write(tmp_path, 1.0)
    manifest = json.loads((tmp_path / "checkpoints" / "1.json").read_text())
    assert manifest.keys() == {"version", "fingerprint", "facts", "sha256"}
    assert (manifest["version"], manifest["fingerprint"], manifest["facts"]) == (1, "this", {"value": 1.0})


def test_two_generations_are_kept_and_the_newest_is_resumed(tmp_path):
    write(tmp_path, 1.0, 2.0, 3.0, 4.0)
    assert names(tmp_path) == ["3.json", "3.safetensors", "4.json", "4.safetensors"] and GENERATIONS == 2
    assert newest(tmp_path) == (4.0, [])


def test_states_are_written_once_an_interval_and_none_twice(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(run(tmp_path))
    for second in range(0, 100, 10):
        now[0] = second
        checkpoints.keep({"x": torch.zeros(3)}, {"value": 0.0})
    assert names(tmp_path) == ["2.json", "2.safetensors", "3.json", "3.safetensors"]  # at 30, 60 and 90 seconds
    checkpoints.write()
    assert names(tmp_path)[-1] == "3.safetensors"


def test_without_a_folder_nothing_is_written_and_nothing_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(run(None, resume=True))
    checkpoints.keep({"x": torch.zeros(3)}, {})
    checkpoints.write()
    checkpoints.clear()
    assert checkpoints.newest() is None and not checkpoints.exist() and list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_resume_finds_nothing_and_replaces_what_another_left(tmp_path):
    write(tmp_path, 1.0, 2.0)
    fresh = Checkpoints(run(tmp_path, fingerprint="other"))
    assert fresh.newest() is None and fresh.exist()
    fresh.keep({"x": torch.full((3,), 5.0)}, {"value": 5.0})
    assert names(tmp_path)[0] == "1.json"  # as long as it has written none
    fresh.write()
    assert names(tmp_path) == ["3.json", "3.safetensors"] and newest(tmp_path, fingerprint="other") == (5.0, [])


def test_clear_removes_them_and_what_a_crash_left_but_no_other_file_of_the_run(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    checkpoints = write(tmp_path, 1.0)
    (tmp_path / "checkpoints" / ".surfrecon-0.tmp").touch()
    checkpoints.clear()
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


# damage --------------------------------------------------------------------------------------------------------------------------------


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def older_format(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 0}))


def other_facts(file: Path) -> None:
    file.write_text(file.read_text().replace("2.0", "9.0"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("2.safetensors", flip),
        ("2.safetensors", truncate),
        ("2.safetensors", Path.unlink),
        ("2.json", flip),
        ("2.json", truncate),
        ("2.json", lambda file: file.write_bytes(b"")),
        ("2.json", lambda file: file.write_bytes(b"\xff\xfe\x00")),
        ("2.json", lambda file: file.write_text("[1, 2]")),
        ("2.json", lambda file: file.write_text("{}")),
        ("2.json", older_format),
        ("2.json", other_facts),
    ],
)
def test_a_damaged_newest_is_skipped_with_a_warning_and_the_older_one_resumed(name, damage, tmp_path):
    write(tmp_path, 1.0, 2.0)
    damage(tmp_path / "checkpoints" / name)
    value, warnings = newest(tmp_path)
    assert value == 1.0 and len(warnings) == 1 and "2.json is damaged and skipped (" in warnings[0]


def test_tensors_whose_manifest_was_never_written_count_for_nothing(tmp_path):
    write(tmp_path, 1.0)
    (tmp_path / "checkpoints" / "2.safetensors").write_bytes(safetensors.torch.save({"x": torch.zeros(3)}))
    assert newest(tmp_path) == (1.0, [])


def test_the_state_resumed_from_outlives_a_newer_damaged_one(tmp_path):
    write(tmp_path, 1.0, 2.0)
    truncate(tmp_path / "checkpoints" / "2.safetensors")
    resumed = Checkpoints(run(tmp_path, resume=True))
    resumed.newest()
    resumed.keep({"x": torch.full((3,), 3.0)}, {"value": 3.0})
    resumed.write()
    assert names(tmp_path) == ["1.json", "1.safetensors", "3.json", "3.safetensors"] and newest(tmp_path) == (3.0, [])


def test_nothing_whole_to_resume_from_is_refused_in_a_sentence(tmp_path):
    for damaged in (False, True):
        if damaged:
            write(tmp_path, 1.0)
            truncate(tmp_path / "checkpoints" / "1.json")
        with pytest.raises(InputError, match="checkpoints holds no whole checkpoint to continue from; leave --resume out") as caught:
            newest(tmp_path)
        assert caught.value.exit_code == 2


def test_a_checkpoint_of_something_else_is_refused_and_stays(tmp_path):
    write(tmp_path, 1.0)
    with pytest.raises(InputError, match="belongs to another scan, method, settings or seed; repeat the interrupted command") as caught:
        newest(tmp_path, fingerprint="that")
    assert caught.value.exit_code == 2 and newest(tmp_path) == (1.0, [])


def test_restore_gives_values_in_place_or_leaves_all_as_it_was():
    x, y = torch.zeros(3, requires_grad=True), torch.zeros(())
    restore({"x": x, "y": y}, {"x": torch.ones(3), "y": torch.tensor(2.0), "unasked": torch.zeros(1)})
    assert torch.equal(x.detach(), torch.ones(3)) and y == 2 and x.requires_grad
    for saved in ({"x": torch.zeros(3)}, {"x": torch.zeros(3), "y": torch.zeros(1)}):
        with pytest.raises(InputError, match=r"needs y of shape \(\)"):
            restore({"x": x, "y": y}, saved)
        assert torch.equal(x.detach(), torch.ones(3))


# a disk that refuses -------------------------------------------------------------------------------------------------------------------


def keep_and_write(checkpoints: Checkpoints, value: float) -> list[str]:
    checkpoints.keep({"x": torch.full((3,), value)}, {"value": value})
    checkpoints.write()
    return checkpoints.run.warnings


def test_a_full_disk_is_a_warning_of_one_sentence_and_the_older_states_stay(tmp_path, monkeypatch):
    checkpoints = write(tmp_path, 1.0)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (warning,) = keep_and_write(checkpoints, 2.0)
    assert warning.startswith("no checkpoint could be left, the run goes on without: ") and "the disk is full" in warning
    monkeypatch.undo()
    assert names(tmp_path) == ["1.json", "1.safetensors"] and newest(tmp_path) == (1.0, [])
    checkpoints.write()  # once there is space
    assert newest(tmp_path) == (2.0, [])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory"), OSError(errno.ENOMEM, "short")], ids=repr)
def test_want_of_memory_is_a_warning_and_no_empty_folder_stays(error, tmp_path, monkeypatch):
    def short(*_):
        raise error

    monkeypatch.setattr(module, "serialized", short)
    (warning,) = keep_and_write(Checkpoints(run(tmp_path)), 1.0)
    assert warning.startswith("no checkpoint could be left, the run goes on without: ") and not warning.endswith(": ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_a_warning(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    (warning,) = keep_and_write(Checkpoints(run(tmp_path)), 1.0)
    assert "no checkpoint could be left" in warning and (tmp_path / "checkpoints").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_closed_folder_is_a_warning(tmp_path):
    tmp_path.chmod(0o500)
    try:
        (warning,) = keep_and_write(Checkpoints(run(tmp_path)), 1.0)
    finally:
        tmp_path.chmod(0o700)
    assert "Permission denied" in warning and list(tmp_path.iterdir()) == []


# interruption --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ResourceError("full"), MemoryError(), RuntimeError("CUDA out of memory")], ids=repr)
def test_interruption_and_want_of_memory_leave_the_state_kept_last(error, tmp_path, caplog):
    checkpoints = Checkpoints(run(tmp_path))
    with caplog.at_level("INFO", "surfrecon"), pytest.raises(type(error)), checkpoints.left_behind():
        for value in (1.0, 2.0):
            checkpoints.keep({"x": torch.full((3,), value)}, {"value": value})
        raise error
    assert newest(tmp_path) == (2.0, []) and not checkpoints.run.stopped
    assert caplog.messages == [f"a checkpoint is left in {tmp_path / 'checkpoints'}, to resume from"]


def test_other_failures_leave_nothing(tmp_path):
    checkpoints = Checkpoints(run(tmp_path))
    with pytest.raises(RuntimeError), checkpoints.left_behind():
        checkpoints.keep({"x": torch.zeros(3)}, {})
        raise RuntimeError("shapes differ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [True, False])
def test_a_stop_ends_the_block_alone_where_a_state_was_kept(folder, tmp_path):
    checkpoints = Checkpoints(run(tmp_path if folder else None))
    with pytest.raises(Stop), checkpoints.left_behind():
        raise Stop
    assert not checkpoints.run.stopped and not checkpoints.run.warnings
    with checkpoints.left_behind():
        checkpoints.keep({"x": torch.zeros(3)}, {"value": 0.0})
        raise Stop
    assert checkpoints.run.stopped and checkpoints.run.warnings == ["interrupted: the result is the best so far"]
    assert Checkpoints(run(tmp_path)).exist() == folder


def test_a_stop_right_after_resuming_goes_on_with_what_was_resumed(tmp_path):
    write(tmp_path, 1.0)
    checkpoints = Checkpoints(run(tmp_path, resume=True))
    checkpoints.newest()
    with checkpoints.left_behind():
        raise Stop
    assert checkpoints.run.stopped and names(tmp_path) == ["1.json", "1.safetensors"]


def test_what_was_costly_to_make_is_remembered_by_a_run_that_resumes_and_made_by_another(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"points": np.arange(6.0).reshape(2, 3)}

    first = remembered(Run(folder=tmp_path, fingerprint="a"), "stereo", make)
    again = remembered(Run(folder=tmp_path, fingerprint="a", resume=True), "stereo", make)
    np.testing.assert_array_equal(first["points"], again["points"])
    assert again["points"].dtype == np.float64 and len(made) == 1
    remembered(Run(folder=tmp_path, fingerprint="a"), "stereo", make)
    assert len(made) == 2
    with pytest.raises(InputError, match="another scan"):
        remembered(Run(folder=tmp_path, fingerprint="b", resume=True), "stereo", make)


def test_run_interrupted_before_its_fit_resumes_without_a_state_of_the_fit(tmp_path):
    remembered(Run(folder=tmp_path), "stereo", lambda: {"points": np.zeros(3)})
    checkpoints = Checkpoints(Run(folder=tmp_path, resume=True))
    assert checkpoints.exist() and checkpoints.newest() is None
    checkpoints.clear()
    assert not checkpoints.exist()
    with pytest.raises(InputError, match="no whole checkpoint"):
        checkpoints.newest()
