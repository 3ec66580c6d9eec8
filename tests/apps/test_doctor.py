"""surfrecon doctor: complete, and helpful about what is missing."""

import pytest

from surfrecon import ops
from surfrecon.apps import doctor
from surfrecon.apps.doctor import EXTRAS, Extra, problem


@pytest.fixture
def without_extras(monkeypatch):
    """Optional packages aren't loaded: that takes seconds, and which there are is this machine's business."""
    monkeypatch.setattr(doctor, "problem", lambda extra: "not looked for")


def test_json_holds_versions_devices_and_the_backend_of_each_op(without_extras, surfrecon):
    ended = surfrecon("doctor", "--json", "--device", "cpu")
    facts = ended.json
    assert ended.code == 0 and facts["device"] == "cpu" and facts["processors"] >= 1
    assert all(facts["versions"][name] for name in ("surfrecon", "python", "numpy", "torch"))
    assert facts["devices"][0]["name"] == "cpu" and facts["devices"][0]["problem"] is None
    assert [(row["op"], row["backend"], row["reason"]) for row in facts["backends"]] == ops.choices("cpu", "auto")
    assert [(row["backend"], row["problem"], row["what"]) for row in facts["candidates"]] == ops.candidates("cpu")


def test_text_gives_the_install_line_of_what_is_missing(without_extras, surfrecon):
    ended = surfrecon("doctor")
    assert ended.code == 0
    assert all(f'pip install "surfrecon[{extra.name}]"' in ended.out for extra in EXTRAS)
    assert "libusb" in ended.out and "ops on" in ended.out


def test_text_names_the_backend_of_each_op_and_why(without_extras, surfrecon):
    lines = surfrecon("doctor", "--device", "cpu").out.splitlines()
    assert all(f"  {op}: {backend} ({reason})" in lines for op, backend, reason in ops.choices("cpu", "auto"))
    assert "  reference: plain torch" in lines and "  triton: not usable: triton computes on NVIDIA GPUs, not on cpu" in lines


def test_unknown_backend_is_refused(without_extras, surfrecon):
    ended = surfrecon("doctor", "--backend", "abacus")
    assert (ended.code, ended.out) == (2, "") and "abacus" in ended.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", None),
        ("raise OSError('libusb-1.0.so.0: cannot open')", "made_up_extra doesn't load: OSError: libusb-1.0.so.0: cannot open"),
        ("import os; os.abort()", "made_up_extra doesn't load: "),
    ],
    ids=["fine", "raises", "crashes"],
)
def test_an_extra_is_ready_only_if_it_loads(source, said, tmp_path, monkeypatch):
    (tmp_path / "made_up_extra.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = problem(Extra("x", "tests", ("made_up_extra",)))
    assert found is None if said is None else found.startswith(said)


def test_an_extra_that_is_not_installed_is_said_to_be(monkeypatch):
    assert problem(Extra("x", "tests", ("no_such_package_at_all",))) == "no_such_package_at_all not installed"
