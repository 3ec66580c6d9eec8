"""surfrecon doctor: versions, devices, the backend of each op and why, and what is missing for what."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any

EXAMPLES = """
PROG
PROG --device cpu
PROG --json
"""
IMPORT_LIMIT = 60  # seconds for one package to load; Open3D takes 10 from a cold disk


@dataclass(frozen=True)
class Extra:
    """An optional part: what it is for, the packages it needs, and where to look when these don't load."""

    name: str
    purpose: str
    packages: tuple[str, ...]
    note: str = ""


EXTRAS = (
    Extra(
        "open3d",
        "the viewer",
        ("open3d",),
        "on Linux it also needs the system's libusb-1.0: sudo apt install libusb-1.0-0",
    ),
    Extra("sfm", "photographs without cameras", ("pycolmap",)),
    Extra("texture", "textures in place of vertex colours", ("xatlas",)),
    Extra("e57", "reading E57 scans", ("pye57",)),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="D", help="device to choose backends for (default: auto)")
    parser.add_argument("--backend", default="auto", metavar="B", help="backend to prefer (default: auto)")


def run(options: argparse.Namespace) -> None:
    from surfrecon.apps.console import print_json, print_lines

    facts = diagnosis(options.device, options.backend)
    if options.json:
        print_json(facts)
    else:
        print_lines(_lines(facts))


def diagnosis(device: str, backend: str) -> dict[str, Any]:
    """Everything the command says."""
    import torch

    from surfrecon import headroom, ops
    from surfrecon.apps.machine import chosen_device, cpu_count
    from surfrecon.apps.versions import versions

    chosen = chosen_device(device)[0]
    return {
        "versions": versions(),
        "devices": devices(),
        "device": chosen,
        "processors": cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": headroom.available(),
        "candidates": [{"backend": name, "what": what, "problem": problem} for name, problem, what in ops.candidates(chosen)],
        "backends": [{"op": op, "backend": name, "reason": reason} for op, name, reason in ops.choices(chosen, backend)],
        "extras": [asdict(extra) | {"problem": problem(extra), "install": f'pip install "surfrecon[{extra.name}]"'} for extra in EXTRAS],
    }


def devices() -> list[dict[str, Any]]:
    """What torch can compute on, with the reason where a GPU is built for but can't be used."""
    import torch

    from surfrecon.apps.machine import device_problem

    found = [{"name": "cpu", "description": torch.backends.cpu.get_cpu_capability(), "problem": None}]
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        text = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute {properties.major}.{properties.minor}"
        found.append({"name": f"cuda:{i}", "description": text, "problem": device_problem(f"cuda:{i}")})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "description": "Apple GPU", "problem": device_problem("mps")})
    return found


def problem(extra: Extra) -> str | None:
    """Why an extra can't be used, None if it can. Its packages are imported, in a process of their own: a broken one may crash it."""
    import subprocess
    import sys
    from importlib.util import find_spec

    missing = [package for package in extra.packages if find_spec(package) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    for package in extra.packages:
        try:
            done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True, timeout=IMPORT_LIMIT)
        except subprocess.TimeoutExpired:
            return f"{package} doesn't load within {IMPORT_LIMIT} s"
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return f"{package} doesn't load: {lines[-1] if lines else f'exit code {done.returncode}'}"
    return None


def _lines(facts: dict[str, Any]) -> list[str]:
    from surfrecon.apps.console import size_text

    lines = [f"{name} {version or 'not installed'}" for name, version in facts["versions"].items()]
    memory = f", {size_text(facts['memory_bytes'])} of memory free" if facts["memory_bytes"] else ""
    lines += ["", f"{facts['processors']} processors, {facts['threads']} threads in torch{memory}"]
    for device in facts["devices"]:
        lines.append(f"{device['name']}: {device['description']}{', UNUSABLE: ' + device['problem'] if device['problem'] else ''}")
    lines += ["", f"backends for {facts['device']}, the preferred first:"]
    lines += [f"  {row['backend']}: {'not usable: ' + row['problem'] if row['problem'] else row['what']}" for row in facts["candidates"]]
    lines += ["", f"ops on {facts['device']}:"]
    lines += [f"  {row['op']}: {row['backend']} ({row['reason']})" for row in facts["backends"]]
    lines += ["", "optional parts:"]
    for extra in facts["extras"]:
        if extra["problem"]:
            note = f"; {extra['note']}" if extra["note"] else ""
            lines.append(f"  {extra['name']} ({extra['purpose']}): {extra['problem']}: {extra['install']}{note}")
        else:
            lines.append(f"  {extra['name']} ({extra['purpose']}): ready")
    return lines
