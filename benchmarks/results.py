"""RESULTS.md: one section per benchmark, each with its command, machine and date, replaced as a whole when it is run again."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import date
from pathlib import Path

FILE = Path(__file__).parent / "RESULTS.md"
DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; all columns but the first are right-aligned."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Processor count, memory and versions: what a figure depends on and what may be published."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {memory:.0f} GiB, {gpu}, Python {platform.python_version()}, torch {torch.__version__}"


def record(title: str, text: str) -> None:
    """Put a section into RESULTS.md in the place of the one with the same title, or at the end."""
    words = [word for before, word in zip(sys.argv, sys.argv[1:]) if "--pictures" not in (before, word)]  # a folder of this machine
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(words)}".strip()
    section = f"## {title}\n`{command}`, {date.today()}, {machine()}\n\n{text.strip()}\n\n"
    old = FILE.read_text(encoding="utf-8") if FILE.exists() else "# Results\n\nEach section is written by the command that it names.\n\n"
    place = re.compile(rf"## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    new = place.sub(lambda _: section, old) if place.search(old) else old.rstrip() + "\n\n" + section
    FILE.write_text(new.rstrip() + "\n", encoding="utf-8")
