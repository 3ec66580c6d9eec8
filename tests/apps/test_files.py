"""Outputs appear at once or not at all."""

import logging
import os
import subprocess
import sys

import pytest

from surfrecon.apps.files import check_output, claimed, staged
from surfrecon.errors import InputError


def test_staged_files_appear_together_and_the_last_name_last(tmp_path, monkeypatch):
    moved, replace = [], os.replace

    def noted(source, target):
        moved.append(target.relative_to(tmp_path).as_posix())
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    with staged(tmp_path, "mesh.ply") as stage:
        (stage / "mesh.ply").write_text("mesh")
        (stage / "mesh.run").mkdir()
        (stage / "mesh.run" / "report.json").write_text("{}")
        assert not (tmp_path / "mesh.ply").exists()
    assert moved == ["mesh.run/report.json", "mesh.ply"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mesh.ply", "mesh.run"]


def test_log_names_the_final_place(tmp_path, caplog):
    with staged(tmp_path, "mesh.ply") as stage:
        logging.getLogger("surfrecon").warning("%s: no colours", stage / "mesh.stl")
    assert caplog.messages == [f"{tmp_path / 'mesh.stl'}: no colours"]


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(error, tmp_path):
    (tmp_path / "mesh.ply").write_text("old")
    with pytest.raises(type(error)), staged(tmp_path, "mesh.ply") as stage:
        (stage / "mesh.ply").write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_staged_replaces_and_keeps_what_else_a_folder_holds(tmp_path):
    (tmp_path / "mesh.run").mkdir()
    (tmp_path / "mesh.run" / "checkpoint").write_text("kept")
    (tmp_path / "mesh.run" / "report.json").write_text("old")
    with staged(tmp_path, "mesh.ply") as stage:
        (stage / "mesh.run").mkdir()
        (stage / "mesh.run" / "report.json").write_text("new")
    assert {file.name: file.read_text() for file in (tmp_path / "mesh.run").iterdir()} == {"checkpoint": "kept", "report.json": "new"}


def test_output_is_refused_for_the_reason_that_holds(tmp_path):
    def refusal(path, **options):
        with pytest.raises(InputError) as caught:
            check_output(path, suffixes={".ply", ".glb"}, taken=[path], **{"overwrite": False, **options})
        return str(caught.value)

    (tmp_path / "there.ply").touch()
    (tmp_path / "folder.ply").mkdir()
    assert "can't write .xyz; choose one of .glb, .ply" in refusal(tmp_path / "mesh.xyz")
    assert "a file without suffix" in refusal(tmp_path / "mesh")
    assert f"the folder {tmp_path / 'nowhere'} doesn't exist" in refusal(tmp_path / "nowhere" / "mesh.ply")
    assert "exists; add --overwrite" in refusal(tmp_path / "there.ply")
    assert "is a folder" in refusal(tmp_path / "folder.ply", overwrite=True)
    assert f"{tmp_path / ('x' * 300 + '.ply')} can't be written: File name too long" in refusal(tmp_path / ("x" * 300 + ".ply"))
    check_output(tmp_path / "there.ply", suffixes={".ply"}, taken=[tmp_path / "there.ply"], overwrite=True)
    check_output(tmp_path / "MESH.PLY", suffixes={".ply"}, taken=[tmp_path / "MESH.PLY"], overwrite=False)


# One run at a time ------------------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from surfrecon.apps.files import claimed

with claimed(Path(sys.argv[1]), Path("mesh.ply")):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/mesh.run."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "mesh.run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()


def test_a_claimed_folder_goes_with_the_claim_unless_something_is_in_it(tmp_path):
    with claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply") as killed:
        assert not killed and [file.name for file in tmp_path.rglob("*")] == ["mesh.run", "lock"]
    assert not any(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply"):
        (tmp_path / "mesh.run" / "report.json").touch()
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.rglob("*")] == ["mesh.run", "report.json"]


def test_a_folder_claimed_by_another_process_is_refused_in_one_sentence(tmp_path, holder):
    with pytest.raises(InputError) as caught, claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply"):
        pass
    who = f"another run is writing {tmp_path / 'mesh.ply'} (process {holder.pid})"
    assert str(caught.value) == f"{who}; wait for its end, or name another file with -o"
    with claimed(tmp_path / "other.run", tmp_path / "other.ply"):
        pass


def test_the_lock_of_a_killed_process_locks_nothing_and_tells_of_it(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "mesh.run" / "lock").exists()
    with claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply") as killed:
        assert killed
    assert not any(tmp_path.iterdir())


def test_a_run_of_its_own_process_is_refused_as_well(tmp_path):
    with claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply"):
        with pytest.raises(InputError, match="another run is writing"), claimed(tmp_path / "mesh.run", tmp_path / "mesh.ply"):
            pass
        assert (tmp_path / "mesh.run" / "lock").exists()


def test_many_claims_at_once_never_overlap(tmp_path):
    program = """
import sys, time
from pathlib import Path
from surfrecon.apps.files import claimed
from surfrecon.errors import InputError

had = 0
while had < 20:
    try:
        with claimed(Path(sys.argv[1]), Path("mesh.ply")):
            (mark := Path(sys.argv[2])).touch(exist_ok=False)
            mark.unlink()
            had += 1
    except InputError:
        time.sleep(0.001)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "mesh.run"), str(tmp_path / "mark")]
    many = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in many] == [("", 0)] * 4
    assert not any(tmp_path.iterdir())


def test_what_a_killed_run_staged_goes_and_what_another_one_stages_stays(tmp_path):
    killed = "import os, sys; from pathlib import Path; from surfrecon.apps.files import staged\n"
    killed += "with staged(Path(sys.argv[1]), sys.argv[2]) as stage: (stage / 'part').touch(); os.kill(os.getpid(), 9)"
    for name in ("mesh.ply", "other.ply"):
        subprocess.run([sys.executable, "-c", killed, str(tmp_path), name], check=False)
    assert len(list(tmp_path.rglob("part"))) == 2
    for name in ("mesh.ply", "x" * 251 + ".ply"):
        with staged(tmp_path, name) as stage:
            (stage / name).touch()
    assert len(list(tmp_path.rglob("part"))) == 1
    with staged(tmp_path, "other.ply"):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mesh.ply", "x" * 251 + ".ply"]
