"""Small files of every format, damaged at random: a reader refuses each copy in one sentence or gives finite points, within 5 s."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from drills.child import Row

TESTS = Path(__file__).parent.parent.parent / "tests" / "io"
TOTAL, QUICK = 2000, 40


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    sys.path.insert(0, str(TESTS))
    from test_mutations import GROUPS  # a new format is a new row there

    files = sum(map(len, GROUPS.values()))
    count = -(-(QUICK if quick else TOTAL) // files)
    for makers in GROUPS.values():
        for name, write in makers.items():
            write(folder / name)
        command = [sys.executable, TESTS / "mutations.py", str(count), *(folder / name for name in makers)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wrong = done.stdout.strip() or (done.stderr[-300:] if done.returncode else "")
        case = f"{count * len(makers)} copies: {', '.join(makers)}"
        yield Row(case, "refused or finite", wrong[:500] or "as wanted", not wrong, time.perf_counter() - start)
