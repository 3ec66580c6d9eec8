"""What `import surfrecon` gives: the public names, loaded on use, and a reconstruction in three lines."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import surfrecon
from surfrecon.geometry import directions_around

SOURCE = ast.parse(Path(surfrecon.__file__).read_text(encoding="utf-8"))


def test_every_public_name_is_there_and_known_to_editors():
    shown = {alias.name for node in ast.walk(SOURCE) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(surfrecon.__all__) == shown - {"import_module", "TYPE_CHECKING", "Any"}
    assert len(set(surfrecon.__all__)) == len(surfrecon.__all__)
    for name in surfrecon.__all__:
        assert getattr(surfrecon, name).__module__.startswith("surfrecon.")
    assert set(surfrecon.__all__) <= set(dir(surfrecon))


def test_other_names_are_refused_with_the_public_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'reconstuct'; public names are .*reconstruct"):
        _ = surfrecon.reconstuct


def test_importing_loads_nothing_heavy():
    code = "import sys, surfrecon; assert not {'torch', 'numpy', 'scipy', 'trimesh', 'open3d'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_array_of_a_sphere_becomes_its_mesh_and_callbacks_hear_of_it():
    steps = []
    points = 3 * directions_around(3000) + [10, 20, 30]
    result = surfrecon.reconstruct(points, run=surfrecon.Run(on_step=steps.append))
    assert surfrecon.inspect(result.mesh).solid
    assert result.mesh.volume() == pytest.approx(4 / 3 * np.pi * 27, rel=0.01)
    assert np.abs(np.linalg.norm(result.mesh.vertices - [10, 20, 30], axis=1) - 3).max() < 0.03
    assert {"orient", "extract"} <= {step.stage for step in steps} and any(step.surface is not None for step in steps)
