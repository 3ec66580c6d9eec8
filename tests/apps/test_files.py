"""Outputs appear at once or not at all."""

import logging
import os

import pytest

from surfrecon.apps.files import check_output, staged
from surfrecon.errors import InputError


def test_staged_files_appear_together_and_the_last_name_last(tmp_path, monkeypatch):
    moved, replace = [], os.replace

    def noted(source, target):
        moved.append(target.relative_to(tmp_path).as_posix())
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    with staged(tmp_path) as stage:
        (stage / "mesh.ply").write_text("mesh")
        (stage / "mesh.run").mkdir()
        (stage / "mesh.run" / "report.json").write_text("{}")
        assert not (tmp_path / "mesh.ply").exists()
    assert moved == ["mesh.run/report.json", "mesh.ply"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mesh.ply", "mesh.run"]


def test_log_names_the_final_place(tmp_path, caplog):
    with staged(tmp_path) as stage:
        logging.getLogger("surfrecon").warning("%s: no colours", stage / "mesh.stl")
    assert caplog.messages == [f"{tmp_path / 'mesh.stl'}: no colours"]


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(error, tmp_path):
    (tmp_path / "mesh.ply").write_text("old")
    with pytest.raises(type(error)), staged(tmp_path) as stage:
        (stage / "mesh.ply").write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_staged_replaces_and_keeps_what_else_a_folder_holds(tmp_path):
    (tmp_path / "mesh.run").mkdir()
    (tmp_path / "mesh.run" / "checkpoint").write_text("kept")
    (tmp_path / "mesh.run" / "report.json").write_text("old")
    with staged(tmp_path) as stage:
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
    check_output(tmp_path / "there.ply", suffixes={".ply"}, taken=[tmp_path / "there.ply"], overwrite=True)
    check_output(tmp_path / "MESH.PLY", suffixes={".ply"}, taken=[tmp_path / "MESH.PLY"], overwrite=False)
