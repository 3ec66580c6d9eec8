"""The drill: everything that may go wrong around a run is made to go wrong, and what comes of it is held against what is promised.

    python benchmarks/drill.py                 # all parts, about a quarter of an hour
    python benchmarks/drill.py --only hostile  # one of them, see PARTS
    python benchmarks/drill.py --quick         # a few cases of each; nothing is recorded

Ends with code 1 where anything isn't as wanted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from drills.child import HEAD, Row
from results import record, table

PARTS = {  # module of drills/: title
    "hostile": "Drill: malformed and degenerate scans",
    "folders": "Drill: folders and names",
    "kill": "Drill: SIGKILL and --resume",
    "stop": "Drill: SIGINT, SIGTERM and damaged checkpoints",
    "disk": "Drill: a full disk",
    "memory": "Drill: little memory",
    "mutations": "Drill: damaged files",
    "pickles": "Drill: files that would run code",
    "world": "Drill: coordinates far from the origin",
    "divergence": "Drill: a loss that isn't a number",
}


def done(part: str, quick: bool) -> list[Row]:
    """The rows of a part, each shown as it comes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for row in import_module(f"drills.{part}").rows(Path(folder).resolve(), quick):
            print("  ".join(row.cells()), flush=True)
            found.append(row)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, metavar="PART", help=f"one part: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few cases of each, and nothing is recorded")
    options = parser.parse_args()
    wrong = 0
    for part in [options.only] if options.only else PARTS:
        print(f"\n{PARTS[part]}", flush=True)
        rows = done(part, options.quick)
        text = (sys.modules[f"drills.{part}"].__doc__ or "").partition("\n\n")[0]
        if not options.quick:
            record(PARTS[part], f"{text}\n\n{table(HEAD, [row.cells() for row in rows])}")
        wrong += sum(not row.well for row in rows)
    print(f"\n{wrong} cases are not as wanted" if wrong else "\neverything is as wanted")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
