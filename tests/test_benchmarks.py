"""Benchmarks that can be rehearsed anywhere."""

import subprocess
import sys
from pathlib import Path

GPU = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def test_gpu_benchmark_gives_one_table_with_a_reason_for_what_is_missing():
    done = subprocess.run([sys.executable, str(GPU), "--rehearse"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert "REHEARSAL" in done.stdout and len(rows) > 12
    missing = [row for row in rows if "pending" in row[-1]]
    assert all(row[-1].partition("pending: ")[2] for row in missing)
    assert {row[0] for row in missing} <= {"tinycudann's encoding"}, done.stdout
