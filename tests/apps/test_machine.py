"""What a machine offers, and what is done where a GPU is there but can't be used."""

import pytest
import torch

from surfrecon.apps import machine
from surfrecon.errors import InputError


def test_cpu_is_always_usable():
    assert machine.device_problem("cpu") is None
    assert machine.chosen_device("cpu") == ("cpu", None)


@pytest.mark.parametrize("name", ["cuda:77", "abacus", ""])
def test_a_device_that_is_not_there_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="can't be used") as caught:
        machine.chosen_device(name)
    assert "\n" not in str(caught.value)


def test_auto_passes_over_a_gpu_that_fails_and_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(machine, "device_problem", lambda name: "no kernel image is available")
    assert machine.chosen_device("auto") == ("cpu", "the GPU can't be used (no kernel image is available): computing on the CPU")
    monkeypatch.setattr(machine, "device_problem", lambda name: None)
    assert machine.chosen_device("auto") == ("cuda", None)


def test_there_is_a_processor():
    assert machine.cpu_count() >= 1
