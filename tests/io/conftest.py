"""What the tests of files share: a closed mesh, a scan that carries everything, the evaluation data."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from surfrecon.geometry import Mesh, PointCloud

UTM = np.array([8e5, 5.8e6, 100.0])  # metres: float32 steps there are half a metre
DATA = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sphere(rng) -> Mesh:
    """Closed, radius 1, normals and colours and two scalar fields, 2562 vertices."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    count = len(ball.vertices)
    return Mesh(
        ball.vertices,
        ball.faces,
        normals=ball.vertices,
        colors=rng.integers(0, 256, (count, 3)) / 255,
        scalars={"confidence": rng.random(count).astype(np.float32), "label": rng.integers(0, 9, count).astype(np.uint8)},
        crs='PROJCS["ETRS89 / UTM 32N",\n  AUTHORITY["EPSG","25832"]]',
    )


@pytest.fixture
def cloud(sphere, rng) -> PointCloud:
    """The sphere's vertices at UTM coordinates, with sensor origins."""
    scalars = {"intensity": rng.integers(0, 65536, len(sphere.vertices)).astype(np.uint16), "time": rng.random(len(sphere.vertices))}
    points = sphere.vertices + UTM
    return PointCloud(points, sphere.normals, sphere.colors, scalars, origins=points + 10 * sphere.normals, crs=sphere.crs)


@pytest.fixture
def data():
    """A function from a name to the path of evaluation data; the test is skipped where they are absent."""

    def find(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"evaluation data {name} not at {DATA}")
        return DATA / name

    return find
