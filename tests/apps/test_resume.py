"""surfrecon scan --resume: a run that was killed or interrupted ends with the bytes of one that never was."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from surfrecon.apps.cli import main
from surfrecon.io import read_mesh
from surfrecon.repair import inspect
from surfrecon.run import Run

STEPS = 130
SETTINGS = f'preset = "paper"\nresolution = 48\n[gridpull]\nfinest = 24\nsteps = {STEPS}\nqueries = 2000\n'
# A checkpoint as often as there is a new state, and the end in the middle of the fit.
KILLED = """
import os, signal, sys
from surfrecon import checkpoints
from surfrecon.apps.cli import main
from surfrecon.run import Run

step = Run.step

def fatal(self, stage, done=0, total=0, **facts):
    step(self, stage, done, total, **facts)
    if done == 75:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoints.INTERVAL, Run.step = 0.0, fatal
main(sys.argv[1:])
"""


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> tuple[str, ...]:
    file = tmp_path_factory.mktemp("settings") / "paper.toml"
    file.write_text(SETTINGS)
    return ("--settings", str(file), "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def whole(sphere, options, tmp_path_factory) -> bytes:
    """The mesh of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *options]) == 0
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]
    return (folder / "mesh.ply").read_bytes()


@pytest.fixture
def interrupted(sphere, options, folder, surfrecon, monkeypatch):
    """interrupted(signal, step): how a run ended that got a signal at a step of its fit."""

    def call(number: int, at: int):
        step = Run.step

        def signalling(self, stage, done=0, total=0, **facts):
            if (stage, done) == ("fit", at):
                os.kill(os.getpid(), number)
            step(self, stage, done, total, **facts)

        with monkeypatch.context() as patch:
            patch.setattr(Run, "step", signalling)
            return surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options)

    return call


def test_a_run_that_was_killed_resumes_to_the_same_bytes_and_leaves_no_checkpoint(sphere, options, whole, folder, surfrecon):
    command = [sys.executable, "-c", KILLED, "scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *options]
    assert subprocess.run(command, capture_output=True, text=True).returncode == -signal.SIGKILL
    left = [f"mesh.run/checkpoints/{name}" for name in ("2.json", "2.safetensors", "3.json", "3.safetensors")]
    assert names(folder) == [*left, "mesh.run/lock"]  # which nobody holds any more
    file = folder / "mesh.run" / "checkpoints" / "3.safetensors"
    file.write_bytes(file.read_bytes()[:1000])  # as if the disk had lost the end of the newest
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume", "--json")
    assert ended.code == 0 and "3.json is damaged and skipped" in ended.err
    assert ended.json["facts"]["resumed_at"] == 40 and not ended.json["interrupted"]
    assert (folder / "mesh.ply").read_bytes() == whole
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]
    assert not (folder / "mesh.run" / "checkpoints").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_leaves_a_checkpoint_and_the_best_mesh_so_far(
    number, code, sphere, options, whole, folder, surfrecon, interrupted
):
    ended = interrupted(number, 75)
    assert ended.code == code and names(folder) == [
        "mesh.ply",
        "mesh.run/checkpoints/1.json",
        "mesh.run/checkpoints/1.safetensors",
        "mesh.run/report.html",
        "mesh.run/report.json",
        "mesh.run/settings.toml",
    ]
    assert ended.err.splitlines()[-1] == f"surfrecon: interrupted; {folder / 'mesh.ply'} is the best so far, and --resume continues the run"
    assert inspect(read_mesh(folder / "mesh.ply")).solid and (folder / "mesh.ply").read_bytes() != whole
    report = json.loads((folder / "mesh.run" / "report.json").read_text())
    assert "This run was interrupted; from the last checkpoint" in (folder / "mesh.run" / "report.html").read_text(encoding="utf-8")
    assert report["interrupted"] and "interrupted: the result is the best so far" in report["warnings"]
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume")
    assert ended.code == 0 and (folder / "mesh.ply").read_bytes() == whole
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]


def test_a_run_interrupted_before_its_first_state_leaves_nothing(folder, interrupted):
    ended = interrupted(signal.SIGINT, 10)
    assert (ended.code, ended.out, os.listdir(folder)) == (130, "", [])
    assert ended.err.endswith("surfrecon: interrupted; nothing half-written is left\n")


def test_a_run_interrupted_after_its_fit_says_how_it_goes_on(sphere, options, whole, folder, surfrecon, monkeypatch):
    stage = Run.stage

    def signalling(self, name):
        if name == "write":
            os.kill(os.getpid(), signal.SIGTERM)
        return stage(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "stage", signalling)
        patch.setattr("surfrecon.checkpoints.INTERVAL", 0.0)
        ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options)
    assert ended.code == 143 and not (folder / "mesh.ply").exists()
    assert ended.err.endswith("surfrecon: interrupted; nothing half-written is left, and --resume continues the run\n")
    assert surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume").code == 0
    assert (folder / "mesh.ply").read_bytes() == whole


def test_what_is_not_the_interrupted_run_is_refused_and_nothing_is_touched(sphere, options, folder, surfrecon, interrupted):
    interrupted(signal.SIGINT, 75)
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    (folder.parent / "other.xyz").write_text("".join(sphere.file.read_text().splitlines(keepends=True)[:-1]))
    more = folder.parent / "more.toml"
    more.write_text(SETTINGS.replace(f"steps = {STEPS}", "steps = 150"))
    for scan, changed in (
        (folder.parent / "other.xyz", options),
        (sphere.file, (*options, "--seed", "1")),
        (sphere.file, ("--settings", more, *options[2:])),
    ):
        ended = surfrecon("scan", scan, "-o", folder / "mesh.ply", *changed, "--resume")
        said = f"surfrecon: {folder / 'mesh.run' / 'checkpoints'} belongs to another scan, method, settings or seed; repeat the interrupted"
        assert (ended.code, ended.out) == (2, "") and ended.err.splitlines()[-1].startswith(said)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_checkpoints_are_not_lost_to_a_run_that_forgets_to_resume(folder, surfrecon):
    (folder / "mesh.run" / "checkpoints").mkdir(parents=True)
    (folder / "mesh.run" / "checkpoints" / "1.json").write_text("mine")
    ended = surfrecon("scan", folder / "not-even-there.ply", "-o", folder / "mesh.ply")
    assert ended.code == 2 and names(folder) == ["mesh.run/checkpoints/1.json"]
    assert "mesh.run holds checkpoints of an interrupted run; add --resume to continue it, or --overwrite to start again" in ended.err


def test_a_run_that_overwrites_starts_again(sphere, options, whole, folder, surfrecon, interrupted):
    interrupted(signal.SIGINT, 75)
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--overwrite", "--json")
    assert ended.code == 0 and "resumed_at" not in ended.json["facts"] and (folder / "mesh.ply").read_bytes() == whole
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]


def test_a_run_killed_before_its_first_checkpoint_starts_again(sphere, options, whole, folder, surfrecon):
    command = [sys.executable, "-c", KILLED.replace("== 75", "== 10"), "scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *options]
    assert subprocess.run(command, capture_output=True, text=True).returncode == -signal.SIGKILL
    assert names(folder) == ["mesh.run/lock"]
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume")
    assert ended.code == 0 and "was killed before its first checkpoint: it starts again" in ended.err
    assert (folder / "mesh.ply").read_bytes() == whole
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]


def test_a_run_killed_while_it_writes_leaves_nothing_once_it_is_repeated(sphere, options, whole, folder, surfrecon):
    program = KILLED.replace("done == 75", "stage == 'check'")
    command = [sys.executable, "-c", program, "scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *options]
    assert subprocess.run(command, capture_output=True, text=True).returncode == -signal.SIGKILL
    assert any(name.startswith(".surfrecon.") for name in names(folder)) and not (folder / "mesh.ply").exists()
    assert surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume").code == 0
    assert (folder / "mesh.ply").read_bytes() == whole
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]


def test_nothing_to_resume_from_is_refused(sphere, options, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options, "--resume")
    assert (ended.code, os.listdir(folder)) == (2, [])
    assert "mesh.run/checkpoints holds no whole checkpoint to continue from; leave --resume out to start again" in ended.err


def test_a_fit_that_diverges_for_good_ends_with_code_1(sphere, options, folder, surfrecon, monkeypatch):
    from surfrecon import ops

    monkeypatch.setattr(ops, "pulling", lambda values, *_, **__: values.sum() * float("nan"))
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options)
    assert ended.code == 1 and os.listdir(folder) == []
    assert ended.err.splitlines()[-1].startswith("surfrecon: the fit has diverged: at step 4 of 130 its loss is nan, after 3 recoveries")


def test_a_fit_short_of_memory_for_good_ends_with_code_3(sphere, options, folder, surfrecon, monkeypatch):
    from surfrecon import ops

    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ops, "pulling", short)
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options)
    assert ended.code == 3 and os.listdir(folder) == []
    assert ended.err.splitlines()[-1].startswith("surfrecon: out of memory, even with batches divided by 64")


def test_a_closed_run_folder_is_noticed_before_the_scan_is_read(folder, surfrecon, monkeypatch):
    (folder / "mesh.run").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "mesh.run")  # root, as tests may run, has every permission
    ended = surfrecon("scan", folder / "not-even-there.ply", "-o", folder / "mesh.ply")
    assert ended.code == 2 and "no permission to write into the run's folder" in ended.err and names(folder) == []
