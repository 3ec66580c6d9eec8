"""Benchmarks that can be rehearsed anywhere."""

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from solids import ball

FOLDER = Path(__file__).parent.parent / "benchmarks"


def test_gpu_benchmark_gives_one_table_with_a_reason_for_what_is_missing():
    done = subprocess.run([sys.executable, str(FOLDER / "gpu.py"), "--rehearse"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert "REHEARSAL" in done.stdout and len(rows) > 12
    missing = [row for row in rows if "pending" in row[-1]]
    assert all(row[-1].partition("pending: ")[2] for row in missing)
    assert {row[0] for row in missing} <= {"tinycudann's encoding"}, done.stdout


def test_reading_benchmark_times_every_reader():
    command = [sys.executable, str(FOLDER / "reading.py"), "--points", "20000", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert done.returncode == 0 and len(rows) == 6 and all(0 <= float(value) < 60 for row in rows[2:] for value in row[1:]), done.stderr


@pytest.fixture
def images(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("images")
    monkeypatch.setattr(module, "SAMPLES", 5000)
    yield module
    for name in ("images", "results"):
        sys.modules.pop(name)


def test_images_benchmark_has_a_cell_for_every_column(images):
    views = replace(ellipsoid(14), depths=None)
    dented = ball(AXES, CENTRE)
    depth = np.linalg.norm((dented.vertices - CENTRE) / AXES - [1, 0, 0], axis=1)
    away = np.where(depth < 0.5, 0.85, 1.0)[:, None]
    truth = replace(dented, vertices=CENTRE + away * (dented.vertices - CENTRE))
    subject = images.Subject(views[::2], held_out=views[1::2], truth=truth)
    made = images.hull(subject)
    row = dict(zip(images.HEAD[1:-1], images.measured(made, subject)[0], strict=True))
    assert row["over the hull's"] == "1.000" and float(row["hollows"]) > 10 and row["solid"] == "yes" and row["genus (truth)"] == "0 (0)"
    assert row["held-out PSNR"] == "" and float(row["IoU"]) > 0.98
    painted = replace(truth, colors=np.full(truth.vertices.shape, 0.5, np.float32))
    row = dict(zip(images.HEAD[1:-1], images.measured(images.Made(painted), subject)[0], strict=True))
    assert float(row["distance"]) == float(row["hollows"]) == 0 and float(row["held-out PSNR"]) > 5


def test_images_benchmark_says_why_a_maker_leaves_a_case_out(images):
    with pytest.raises(images.Skipped, match="no masks"):
        images.hull(images.Subject(replace(ellipsoid(3), masks=None)))
    with pytest.raises(SystemExit, match="there is no cow"):
        images.chosen("spot,cow", images.CASES)
