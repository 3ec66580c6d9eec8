"""SIGINT and SIGTERM at several moments, and damaged checkpoints: the run ends soon, says how to go on, and goes on."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from drills.child import WHOLE, Row, Started, contents, names, ran, row, unsound
from drills.hostile import ball
from drills.kill import EAGER, slow_run
from surfrecon.checkpoints import Checkpoints
from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan
from surfrecon.run import Run

SOON = 5.0  # seconds from the signal to the end
LARGE = 100_000  # points
CUTS, FLIPS = 20, 50
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
NOTHING, CONTINUES = "nothing half-written is left", "--resume continues the run"


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    out, words = slow_run(folder)
    whole = ran(*words, prelude=EAGER)
    mesh = (out / "mesh.ply").read_bytes()
    first, second = (out / "mesh.run" / file for file in ("lock", "checkpoints/2.json"))
    for number, code in list(SIGNALS.items())[-1 if quick else 0 :]:
        name = signal.Signals(number).name
        yield stopped(f"{name} while torch is loaded", words, out, number, code, first, NOTHING)
        yield stopped(f"{name} in the middle of the fit", words, out, number, code, second, CONTINUES)
        ended = ran(*words, "--resume", prelude=EAGER)
        wrong = ended.unlike(0) or ("" if (out / "mesh.ply").read_bytes() == mesh and names(out) == WHOLE else "another mesh")
        yield Row("... and --resume", "the bytes of an undisturbed run", wrong or "the same bytes", not wrong, ended.seconds, whole.peak)
        if not quick:
            yield stopped(f"{name} twice in the middle of the fit", words, out, number, code, second, "", 2)
    if not quick:
        large = folder / "large.ply"
        write_scan(PointCloud(ball(LARGE)), large)
        case, words = f"SIGINT while {LARGE:,} points are fitted", (large, "-o", out / "mesh.ply", "--preset", "balanced")
        yield stopped(case, words, out, signal.SIGINT, 130, out / "mesh.run" / "checkpoints" / "1.json", CONTINUES)
    yield from damaged(folder, folder / "scan.ply", folder / "settings.toml", mesh, quick)


def stopped(case: str, words: tuple, out: Path, number: int, code: int, sign: Path, said: str, times: int = 1) -> Row:
    """A run that gets a signal when a file has appeared: the lock, a little before torch is loaded, or a checkpoint of the fit."""
    shutil.rmtree(out)
    out.mkdir()
    run = Started(*words, prelude=EAGER)
    run.wait_for(sign)
    if said == NOTHING:
        time.sleep(0.3)
    sent = run.seconds()
    for _ in range(times):
        run.signal(number)
        time.sleep(0.05)
    ended = run.ended()
    seconds, left = ended.seconds - sent, names(out)
    wrong = ended.unlike(code, *filter(None, [said]))
    if not wrong and said == NOTHING and left:
        wrong = f"left behind: {left}"
    if not wrong and said != NOTHING and not any(name.startswith("mesh.run/checkpoints/") for name in left):
        wrong = f"no checkpoint among {left}"
    if not wrong and said == CONTINUES:
        wrong = unsound(out / "mesh.ply")
    if not wrong and seconds > SOON:
        wrong = f"it ended {seconds:.1f} s after the signal"
    wanted = f"{code} in {SOON:g} s" + ("" if said == NOTHING else ", a checkpoint")
    return Row(case, wanted, wrong or "as wanted", not wrong, seconds, ended.peak)


def damaged(folder: Path, scan: Path, settings: Path, mesh: bytes, quick: bool) -> Iterator[Row]:
    """The newest checkpoint cut short, or with one bit turned: the one before takes its place."""
    out = folder / "damaged"
    out.mkdir()
    words = (scan, "-o", out / "mesh.ply", "--settings", settings, "--device", "cpu", "--threads", "1")
    run = Started(*words, prelude=EAGER)
    run.wait_for(out / "mesh.run" / "checkpoints" / "4.json")
    run.signal(signal.SIGKILL)
    run.ended()
    kept = contents(out)
    states = sorted(int(Path(name).stem) for name in kept if name.endswith(".json"))
    newest, before = (read_state(out / "mesh.run", number) for number in (states[-1], states[-2]))
    files = [out / "mesh.run" / "checkpoints" / f"{states[-1]}.{suffix}" for suffix in ("json", "safetensors")]
    random = np.random.default_rng(0)

    def cut(data: bytes) -> bytes:
        return data[: random.integers(len(data))]

    def flipped(data: bytes) -> bytes:
        copy = bytearray(data)
        copy[random.integers(len(data))] ^= 1 << random.integers(8)
        return bytes(copy)

    for case, count, change in (("cut short", CUTS, cut), ("with one bit turned", FLIPS, flipped))[-1 if quick else 0 :]:
        found: dict[str, int] = {}
        for attempt in range(count):
            file = files[attempt % 2]
            file.write_bytes(change(whole := file.read_bytes()))
            taken = taken_from(out / "mesh.run", newest[0])
            found[same(taken, newest, before)] = found.get(same(taken, newest, before), 0) + 1
            file.write_bytes(whole)
        well = found == {"the one before": count}
        yield Row(f"the newest checkpoint {case}, {count} times", "the one before", ", ".join(f"{n} x {k}" for k, n in found.items()), well)
        files[1].write_bytes(change(files[1].read_bytes()))
        ended = ran(*words, "--resume", prelude=EAGER)
        wrong = f"code {ended.code}: {ended.last}" if ended.code else ""
        if not wrong and (out / "mesh.ply").read_bytes() != mesh:
            wrong = "another mesh"
        wrong = wrong or ("" if "is damaged and skipped" in ended.err else "no warning")
        yield row("... and --resume", "a warning, the same bytes", wrong, ended, "a warning, the same bytes")
        shutil.rmtree(out)
        for name, data in kept.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)


State = tuple[str, dict, dict]  # fingerprint, tensors, facts


def read_state(folder: Path, number: int) -> State:
    import json

    from safetensors.numpy import load_file

    file = folder / "checkpoints" / f"{number}.json"
    manifest = json.loads(file.read_text())
    return manifest["fingerprint"], load_file(file.with_suffix(".safetensors")), manifest["facts"]


def taken_from(folder: Path, fingerprint: str) -> tuple[dict, dict] | str:
    import logging

    logging.getLogger("surfrecon").setLevel(logging.ERROR)
    run = Run(folder=folder, resume=True, fingerprint=fingerprint)
    try:
        found = Checkpoints(run).newest()
    except InputError as error:
        return str(error)
    return {name: tensor.numpy() for name, tensor in found[0].items()}, found[1]


def same(taken: tuple[dict, dict] | str, newest: State, before: State) -> str:
    """Which of two states was taken."""
    if isinstance(taken, str):
        return taken
    for name, (_, tensors, facts) in {"the newest, its content whole": newest, "the one before": before}.items():
        equal: Callable[[str], bool] = lambda key, tensors=tensors: np.array_equal(tensors[key], taken[0][key])
        if facts == taken[1] and tensors.keys() == taken[0].keys() and all(map(equal, tensors)):
            return name
    return "something else"
