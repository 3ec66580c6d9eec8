"""A tiny scan, and the command line called inside the test's process."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surfrecon.apps.cli import main

# Jobs that a shell starts in the background ignore SIGINT, and so would every process started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

NOISE = 0.01


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def surfrecon(capsys):
    """surfrecon("scan", file, ...) -> Ended."""

    def call(*arguments) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


@dataclass(frozen=True)
class Sphere:
    """A noisy scan of a sphere, in a file."""

    file: Path
    points: np.ndarray
    centre: np.ndarray
    radius: float


@pytest.fixture(scope="session")
def sphere(tmp_path_factory) -> Sphere:
    generator = np.random.default_rng(0)
    centre, radius = np.array([10.0, -5.0, 1.0]), 2.0
    directions = generator.normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = centre + (radius + NOISE * generator.normal(size=(len(directions), 1))) * directions
    return Sphere(write_xyz(tmp_path_factory.mktemp("scan") / "sphere.xyz", points), points, centre, radius)


def write_xyz(path: Path, points: np.ndarray) -> Path:
    np.savetxt(path, points, fmt="%.9f")
    return path


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Options of the scan command that make it fast on a tiny scan."""
    return ("--preset", "fast", "--resolution", "48", "--seed", "0", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="session")
def result(tmp_path_factory, sphere, quick) -> Path:
    """mesh.ply of a finished run, for tests that only look at it."""
    mesh = tmp_path_factory.mktemp("result") / "mesh.ply"
    assert main(["scan", str(sphere.file), "-o", str(mesh), *quick]) == 0
    return mesh


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty folder for what a command writes."""
    empty = tmp_path / "out"
    empty.mkdir()
    return empty
