"""surfrecon train-prior: weights that convonet takes, a run that resumes, processes that learn together."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from surfrecon.apps.cli import main
from surfrecon.data_tools.shapes import box, sphere
from surfrecon.data_tools.training_shapes import record_of
from surfrecon.networks.weights import read_weights
from surfrecon.shape_set import write_shapes

SIZES = {"cells": 8, "grid": 4, "depth": 2, "planes": 1, "plane": 4, "plane_depth": 2, "width": 8, "decoder": 8, "neighbours": 4}
SMALL = ["--batch", "2", "--places", "64", "--device", "cpu"]
SMALL += [word for key, value in SIZES.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("shapes") / "set", np.random.default_rng(0)
    write_shapes(folder, (record_of(solid, 0, rng, 24) for solid in (sphere(1.0), box([1.0, 0.7, 0.5]))), ["simple"])
    return folder


def trained(shapes, out, *words):
    return main(["train-prior", str(shapes), "-o", str(out), *SMALL, *map(str, words)])


def test_weights_know_what_made_them(shapes, tmp_path, capsys):
    assert trained(shapes, tmp_path / "w.safetensors", "--steps", 4, "--every", 2, "--validation", shapes, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    network, facts = read_weights(tmp_path / "w.safetensors")
    assert facts["steps"] == 4 and facts["seed"] == 0 and facts["shapes"][0]["shapes"] == 2 and set(facts["iou"]) == {"simple"}
    assert report["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    lines = [json.loads(line) for line in (tmp_path / "w.run" / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert not (tmp_path / "w.run" / "checkpoints").exists()


def test_an_interrupted_training_resumes_to_the_same_bytes(shapes, tmp_path, monkeypatch):
    from surfrecon import checkpoints
    from surfrecon.methods import convonet_training

    assert trained(shapes, tmp_path / "whole.safetensors", "--steps", 50) == 0
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.0)
    made = convonet_training.Batches.__call__

    def interrupted(self, step):
        if step == 43:
            raise KeyboardInterrupt
        return made(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(convonet_training.Batches, "__call__", interrupted)
        assert trained(shapes, tmp_path / "part.safetensors", "--steps", 50) == 130
    assert trained(shapes, tmp_path / "part.safetensors", "--steps", 50, "--resume") == 0
    whole, part = (read_weights(tmp_path / f"{name}.safetensors")[0] for name in ("whole", "part"))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), part.parameters()))


def test_a_training_goes_on_from_weights(shapes, tmp_path):
    assert trained(shapes, tmp_path / "one.safetensors", "--steps", 2) == 0
    words = ["train-prior", str(shapes), "-o", str(tmp_path / "two.safetensors"), "--from", str(tmp_path / "one.safetensors")]
    assert main([*words, "--steps", "2", "--batch", "2", "--places", "64", "--margin", "2", "--device", "cpu"]) == 0
    network, facts = read_weights(tmp_path / "two.safetensors")
    assert facts["from"] == "one" and network.layout.cells == SIZES["cells"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--layout", "rooms"], "choose one of objects, scenes"),
        (["--set", "height=3"], "no size 'height'"),
        (["--set", "width=wide"], "whole number"),
        (["--from", "missing.safetensors"], "missing.safetensors"),
        (["--validation", "missing"], "holds no set"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(shapes, tmp_path, capsys, words, text):
    assert trained(shapes, tmp_path / "w.safetensors", *words) == 2
    said = capsys.readouterr().err
    assert text in said and "Traceback" not in said
    assert not (tmp_path / "w.safetensors").exists()


def test_two_processes_learn_one_network(shapes, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "surfrecon.apps.cli"]
    words = ["train-prior", str(shapes), "-o", str(tmp_path / "w.safetensors"), *SMALL, "--steps", "3", "--json"]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processes"] == 2
    assert trained(shapes, tmp_path / "alone.safetensors", "--steps", 3) == 0
    together, alone = (read_weights(tmp_path / f"{name}.safetensors")[0] for name in ("w", "alone"))
    assert all(bool(parameter.isfinite().all()) for parameter in together.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(together.parameters(), alone.parameters()))  # it learnt from both
