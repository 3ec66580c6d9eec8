"""surfrecon scan on a tiny sphere: what it writes, what it refuses, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from surfrecon import ops
from surfrecon.apps import gate
from surfrecon.errors import SurfreconError
from surfrecon.io import read_mesh
from surfrecon.methods import METHODS
from surfrecon.ops import native
from surfrecon.repair import inspect
from surfrecon.settings import resolve

SLOW = ("--preset", "fine", "--resolution", "1024", "--device", "cpu", "--threads", "1")  # long enough to be interrupted


def names(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_result_is_the_scanned_sphere_in_its_own_place(sphere, result):
    mesh = read_mesh(result)
    assert inspect(mesh).solid and inspect(mesh).genus == 0
    assert mesh.volume() == pytest.approx(4 / 3 * np.pi * sphere.radius**3, rel=0.02)
    assert np.abs(np.linalg.norm(mesh.vertices - sphere.centre, axis=1) - sphere.radius).max() < 0.1


def test_files_of_a_run(result):
    assert names(result.parent) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]


def test_report_holds_what_a_reader_needs(result, sphere):
    report = json.loads((result.parent / "mesh.run" / "report.json").read_text())
    assert report["command"][:2] == ["surfrecon scan", str(sphere.file)]
    assert report["input"]["points"] == 2000 and report["input"]["duplicates"] == 0
    assert report["settings"]["seed"] == 0 and report["settings"]["resolution"] == 48
    assert report["settings"]["gridpull"]["rounds"] == 2
    assert report["topology"]["solid"] and report["topology"]["faces"] == len(read_mesh(result).faces)
    assert np.allclose(np.linalg.inv(report["unit_from_world"])[:3, 3], sphere.centre, atol=0.1)
    assert {"read", "orient", "write", "check"} <= set(report["timings"])
    assert sum(report["timings"].values()) == pytest.approx(report["seconds"])
    assert 0 < report["confidence"]["median"] <= 1
    assert report["peak_memory_bytes"] > 50e6
    assert report["versions"]["numpy"] == np.__version__
    assert report["files"][0] == str(result) and report["device"] == "cpu"
    assert isinstance(report["warnings"], list)


def test_settings_of_a_run_repeat_it_to_the_byte(result, sphere, folder, surfrecon):
    settings = result.parent / "mesh.run" / "settings.toml"
    options = ("--settings", settings, "--device", "cpu", "--threads", "1", "--json")
    ended = surfrecon("scan", sphere.file, "-o", folder / "again.ply", *options)
    assert ended.code == 0 and ended.json["settings"]["resolution"] == 48
    assert (folder / "again.ply").read_bytes() == result.read_bytes()
    assert (folder / "again.run" / "settings.toml").read_text() == settings.read_text()
    assert json.loads((folder / "again.run" / "report.json").read_text()) == ended.json


def test_summary_names_the_files_and_what_they_hold(sphere, quick, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.glb", *quick, "--open")
    assert ended.code == 0
    assert names(folder) == ["mesh.glb", "mesh.open.glb", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]
    assert all(str(folder / name) in ended.out for name in names(folder))
    assert "closed yes, 1 piece" in ended.out


def test_overwrite_replaces_the_result_and_its_stale_sheet(sphere, quick, folder, surfrecon):
    for name in ("mesh.ply", "mesh.open.ply"):
        (folder / name).write_text("old")
    assert surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--no-open", "--overwrite").code == 0
    assert names(folder) == ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]
    assert len(read_mesh(folder / "mesh.ply").faces) > 1000


def test_sharp_edges_are_looked_for_on_demand_and_the_settings_file_remembers(sphere, result, quick, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--sharp")
    assert ended.code == 0 and "0 vertices on sharp edges" in ended.out
    assert (folder / "mesh.ply").read_bytes() == result.read_bytes()  # a sphere has none
    settings = folder / "mesh.run" / "settings.toml"
    again = surfrecon(
        "scan", sphere.file, "-o", folder / "mesh.ply", "--settings", settings, "--overwrite", "--threads", "1", "--json"
    ).json
    assert again["settings"]["sharp"] and again["result"]["sharp"] and again["facts"]["vertices_on_creases"] == 0
    blunt = surfrecon("scan", sphere.file, "-o", folder / "b.ply", "--settings", settings, "--no-sharp", "--dry-run", "--json").json
    assert blunt["settings"]["sharp"] is False


def test_a_small_budget_gives_a_coarser_solid_and_a_large_one_the_same_bytes(sphere, result, quick, folder, surfrecon, monkeypatch):
    monkeypatch.setattr("surfrecon.methods.gridpull_fit.LEAST_CELLS", 16)
    file = folder / "mesh.ply"
    ended = surfrecon("scan", sphere.file, "-o", file, *quick, "--budget", "0.1", "--json").json
    assert ended["settings"]["budget"] == 0.1 and ended["result"]["resolution"] < 48 and ended["topology"]["solid"]
    assert any(warning.endswith("the budget of 0.1 s was used") for warning in ended["warnings"])
    again = surfrecon("scan", sphere.file, "-o", file, *quick, "--overwrite", "--budget", "1e4", "--json").json
    assert file.read_bytes() == result.read_bytes() and not any("budget" in warning for warning in again["warnings"])
    assert "budget = 10000.0" in (folder / "mesh.run" / "settings.toml").read_text()


@pytest.mark.parametrize("budget", ["0", "-1", "soon", "nan", "inf"])
def test_a_budget_is_a_time(budget, sphere, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", f"--budget={budget}")
    assert ended.code == 2 and "must be a number of seconds > 0" in ended.err and names(folder) == []


def test_several_files_are_one_scan(sphere, folder, surfrecon):
    points = sphere.points
    parts = [folder.parent / "a.xyz", folder.parent / "b.xyz"]
    for part, rows in zip(parts, (slice(900), slice(900, None))):
        np.savetxt(part, points[rows])
    ended = surfrecon("scan", *parts, "-o", folder / "mesh.ply", "--dry-run", "--json")
    assert ended.code == 0 and ended.json["input"]["points"] == 2000


def test_a_part_of_a_scan_in_its_unit_becomes_a_solid_in_3mf(sphere, quick, folder, surfrecon):
    x, y, z = sphere.centre
    upper = ("--crop", x - 9, y - 9, z, x + 9, y + 9, z + 9, "--voxel", sphere.radius / 20)
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.3mf", *quick, *upper, "--units", "cm", "--no-open", "--json")
    assert ended.code == 0 and ended.json["input"]["units"] == "cm" and ended.json["input"]["points"] < 1000
    assert ended.json["input"]["selection"]["crop"][2] == z and ended.json["input"]["selection"]["classes"] is None
    mesh = read_mesh(folder / "mesh.3mf")
    assert mesh.unit == "cm" and inspect(mesh).solid and mesh.bounds()[0][2] > z - sphere.radius / 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crop", 0, 0, 0, 1, 1, 0), "the crop must go from lower to higher"),
        (("--crop", 50, 50, 50, 51, 51, 51), "none of its points lies in the crop"),
        (("--class", 2), "have no classes"),
        (("--voxel", "1e-9"), "too small for a scan"),
        (("--voxel", 0), "must be a length > 0"),
        (("--units", "parsec"), "invalid choice"),
    ],
)
def test_a_selection_that_leaves_nothing_or_cannot_be_is_refused(options, said, sphere, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *options)
    assert ended.code == 2 and said in ended.err.splitlines()[-1] and not names(folder)  # before it may stand what was guessed


def test_dry_run_shows_settings_and_estimate_and_writes_nothing(sphere, quick, folder, surfrecon):
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--dry-run")
    assert ended.code == 0 and names(folder) == []
    assert "2,000 points" in ended.out and "about" in ended.out and "rounds = 2" in ended.out
    plan = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--dry-run", "--json").json
    assert plan["estimate"]["resolution"] == 48 and plan["estimate"]["seconds"] > 0 and plan["estimate"]["bytes"] > 0
    assert plan["settings"]["method"] == next(iter(METHODS))


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "scan.ply", "scan.ply"),
        (b"", "scan.ply", "scan.ply"),
        (b"\x00\x01garbage" * 50, "scan.ply", "scan.ply"),
        (b"", "scan.xyz", "scan.xyz"),
        (b"one two three\n", "scan.xyz", "scan.xyz"),
        (b"1 2 3\n" * 20, "scan.xyz", "scan.xyz: all its points lie at one place"),
        (b"1 2 3\n4 5 7\n3 2 1\n" * 20, "scan.xyz", "scan.xyz: its points lie at 3 places: a surface needs 4 or more"),
        (b"0 0 0\n1 2 3\n2 4 6\n3 6 9\n4 8 12\n", "scan.xyz", "scan.xyz: all its points lie on one line"),
        (b"0 0 0\n1e300 0 0\n0 1e300 0\n0 0 1e300\n", "scan.xyz", "scan.xyz: its coordinates reach 1e+300"),
        (b"1 2 3\n4 5 nan\n" * 20, "scan.xyz", "scan.xyz"),
        (b"hello", "scan.docx", ".docx"),
    ],
    ids=["missing", "empty", "garbage", "empty-text", "words", "equal", "three", "line", "huge", "nan", "suffix"],
)
def test_bad_input_is_refused_by_name_and_nothing_is_written(content, name, said, dry, tmp_path, quick, folder, surfrecon):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    ended = surfrecon("scan", file, "-o", folder / "mesh.ply", *quick, *dry)
    if name == "scan.xyz" and content is not None and b"nan" in content and ended.code == 0:
        pytest.skip("the reader leaves out points without a position, which is its right")
    assert (ended.code, ended.out, names(folder)) == (2, "", [])
    assert said in ended.err and "Traceback" not in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="names hold no line breaks there")
def test_a_refusal_is_one_line_even_of_a_name_of_two(folder, surfrecon):
    ended = surfrecon("scan", folder / "two\nlines.ply", "-o", folder / "mesh.ply")
    assert ended.code == 2 and ended.err == f"surfrecon: {folder}/two\\nlines.ply: there is no such file\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "slow"), "gridpull has no preset 'slow'; choose one of fast, balanced, fine"),
        (("--method", "poisson"), "no method 'poisson'; choose one of gridpull"),
        (("--device", "cuda:77"), "device 'cuda:77' can't be used"),
        (("--device", "abacus"), "device 'abacus' can't be used"),
        (("--backend", "abacus"), "abacus"),
        (("--settings", "nowhere.toml"), "nowhere.toml can't be read"),
    ],
)
def test_bad_choices_are_refused_before_the_scan_is_read(arguments, said, tmp_path, folder, surfrecon):
    scan_file = tmp_path / "not-even-there.ply"
    ended = surfrecon("scan", scan_file, "-o", folder / "mesh.ply", *arguments)
    assert (ended.code, ended.out, names(folder)) == (2, "", [])
    assert said in ended.err and "not-even-there" not in ended.err


def test_backend_is_the_one_asked_for_in_this_run_alone(sphere, folder, surfrecon):
    dry = ("scan", sphere.file, "-o", folder / "mesh.ply", "--device", "cpu", "--dry-run")
    for options, backend in ((("--backend", "reference"), "reference"), ((), "auto")):
        assert surfrecon(*dry, *options).code == 0
        assert ops.choices("cpu") == ops.choices("cpu", backend)


def test_native_asked_for_where_no_library_was_built_is_refused_with_the_reason(sphere, folder, surfrecon, monkeypatch):
    monkeypatch.setattr(native, "available", lambda: (False, "no native library was built"))
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", "--device", "cpu", "--backend", "native")
    assert ended.code == 2 and "no native library was built" in ended.err and names(folder) == []


def test_unknown_setting_names_the_nearest(sphere, folder, surfrecon, tmp_path):
    (tmp_path / "mine.toml").write_text("[gridpull]\nround = 2\n")
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", "--settings", tmp_path / "mine.toml")
    assert ended.code == 2 and "no setting 'round'; did you mean 'rounds'?" in ended.err


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("mesh.docx", "can't write .docx; choose one of"),
        ("mesh", "can't write a file without suffix"),
        ("nowhere/mesh.ply", "nowhere doesn't exist"),
        ("there.ply", "exists; add --overwrite"),
        ("sheet.ply", "sheet.open.ply exists; add --overwrite"),
    ],
)
def test_bad_output_is_refused_before_the_scan_is_read(quick, output, said, tmp_path, surfrecon):
    for name in ("there.ply", "sheet.open.ply"):
        (tmp_path / name).write_text("mine")
    ended = surfrecon("scan", tmp_path / "not-even-there.ply", "-o", tmp_path / output, *quick)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and "not-even-there" not in ended.err
    assert names(tmp_path) == ["sheet.open.ply", "there.ply"]


def test_a_file_in_the_place_of_the_run_folder_is_noticed_before_the_work(folder, surfrecon):
    (folder / "mesh.run").write_text("mine")
    ended = surfrecon("scan", folder / "not-even-there.ply", "-o", folder / "mesh.ply", "--overwrite")
    assert ended.code == 2 and "mesh.run is in the way" in ended.err and names(folder) == ["mesh.run"]


def test_a_scan_is_never_overwritten_by_its_mesh(sphere, folder, surfrecon):
    file = folder / "scan.ply"
    file.write_text("mine")
    ended = surfrecon("scan", file, "-o", file, "--overwrite")
    assert ended.code == 2 and "would be overwritten" in ended.err and file.read_text() == "mine"
    ended = surfrecon("scan", file, file, "-o", folder / "mesh.ply")
    assert ended.code == 2 and "is named twice" in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_and_leaves_nothing(number, code, sphere, folder):
    command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *SLOW, "-v"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "look:" in line:  # the work has begun, and no level is fitted yet
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, names(folder), os.listdir(folder)) == (code, "", [], [])
    assert "surfrecon: stopping at the next step" in err
    assert err.endswith("surfrecon: interrupted; nothing half-written is left\n")


def test_json_is_alone_on_stdout(sphere, quick, folder):
    command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(sphere.file), "-o", str(folder / "mesh.ply"), *quick, "--json", "-v"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["topology"]["solid"]
    assert "surfrecon: orient" in done.stderr


def test_too_little_memory_is_said_before_the_work(sphere, quick, folder, surfrecon, monkeypatch):
    monkeypatch.setattr("surfrecon.headroom.available", lambda: 1000)
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick)
    assert ended.code == 3 and "are free; lower --resolution" in ended.err and names(folder) == []


def test_a_mesh_that_fails_the_gate_is_not_kept(sphere, quick, folder, surfrecon, monkeypatch):
    def refuse(*_):
        raise SurfreconError("isn't solid")

    monkeypatch.setattr(gate, "check_mesh_file", refuse)
    assert surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick).code == 1
    assert os.listdir(folder) == []


def test_settings_file_in_the_run_folder_is_the_resolved_method(result):
    assert resolve(file=result.parent / "mesh.run" / "settings.toml") == resolve("gridpull", preset="fast")


@pytest.mark.parametrize(
    ("words", "method"),
    [
        ((), "convonet"),
        (("--method", "gridpull"), "gridpull"),
        (("--preset", "paper"), "gridpull"),  # of gridpull alone
        (("--preset", "fine"), "convonet"),
    ],
)
def test_the_choice_of_a_method_is_the_scans_unless_someone_makes_it(folder, surfrecon, words, method):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.savetxt(folder / "cap.xyz", points[points[:, 2] > 0])
    ended = surfrecon("scan", folder / "cap.xyz", "-o", folder / "cap.ply", "--device", "cpu", "--dry-run", "--json", *words)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["settings"]["method"] == method
