"""A few cases of each part of the drill: see benchmarks/drill.py."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
PARTS = ("hostile", "folders", "kill", "stop", "disk", "memory", "pickles", "world", "divergence")  # tests/io has the damaged files
PATIENCE = 600  # seconds; 10 to 40 are usual where nothing else runs


@pytest.mark.skipif(sys.platform != "linux", reason="the drill uses Linux's signals, limits and disks")
@pytest.mark.parametrize("part", PARTS)
def test_a_short_drill_finds_everything_as_wanted(part):
    command = [sys.executable, str(FOLDER / "drill.py"), "--quick", "--only", part]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0 and done.stdout.endswith("everything is as wanted\n"), done.stdout + done.stderr
    assert done.stdout.count("\n") > 3, "no case was tried"
