"""surfrecon.networks.weights: files of weights, whole or refused."""

import numpy as np
import pytest
import torch

from surfrecon.errors import InputError
from surfrecon.io.tensors import mapped_arrays, write_arrays
from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.weights import SHIPPED, named_weights, read_weights, write_weights

TINY = Layout(cells=4, grid=4, depth=1, planes=1, plane=4, plane_depth=1, width=4, blocks=1, decoder=4, decoder_blocks=1, neighbours=2)
MOST_BYTES = 12_000_000


def test_a_network_comes_back_as_float16_has_it(tmp_path):
    network = OccupancyNetwork(TINY)
    write_weights(network, tmp_path / "a.safetensors", {"steps": 7})
    again, facts = read_weights(tmp_path / "a.safetensors")
    assert again.layout == TINY and facts == {"steps": 7}
    for one, other in zip(network.parameters(), again.parameters()):
        assert torch.equal(one.detach().half().float(), other.detach())


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:20], lambda data: b"", lambda data: b"\xff" * 8 + data[8:]])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, damage):
    file = tmp_path / "a.safetensors"
    write_weights(OccupancyNetwork(TINY), file, {})
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"a\.safetensors") as refused:
        read_weights(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("notes", [{}, {"layout": "{}"}, {"layout": '{"cells": -1}', "facts": "{}"}, {"layout": "[", "facts": "{}"}])
def test_tensors_of_something_else_are_refused(tmp_path, notes):
    write_arrays(tmp_path / "a.safetensors", {"x": np.zeros(3, np.float16)}, notes)
    with pytest.raises(InputError, match="train one"):
        read_weights(tmp_path / "a.safetensors")


def test_names_that_did_not_come_with_surfrecon_are_refused():
    with pytest.raises(InputError, match="train them"):
        named_weights("nothing")


def test_arrays_are_mapped_as_they_were_written(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.uint16).reshape(2, 3), "b": np.ones((0, 3), np.float32), "c": np.arange(3.0)}
    write_arrays(tmp_path / "a.safetensors", arrays, {"note": "text"})
    found, notes = mapped_arrays(tmp_path / "a.safetensors")
    assert notes == {"note": "text"}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array) and not found[name].flags.writeable


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.safetensors")), ids=lambda file: file.stem)
def test_shipped_weights_are_small_and_finite(file):
    network, facts = read_weights(file)
    assert file.stat().st_size <= MOST_BYTES
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    assert {"layout", "steps", "seed", "shapes", "iou"} <= facts.keys()
