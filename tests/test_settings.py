"""Settings files: order, round trip, and what is said about those that don't fit."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest

from surfrecon.errors import InputError
from surfrecon.methods import METHODS
from surfrecon.methods.gridpull import GridPull
from surfrecon.settings import Choices, as_dict, method_name, presets, read_choices, resolve, to_toml


@dataclass(frozen=True)
class MadeUp:
    """A method with a setting of every type."""

    count: int = 1
    length: float = 0.5
    flag: bool = False
    name: str = "x"
    kind: Literal["a", "b"] = "a"
    maybe: float | None = None
    sizes: tuple[int, ...] = field(default=(1, 2))

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"balanced": {}, "fast": {"count": 2, "length": 0.1}}


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setitem(METHODS, "made_up", f"{__name__}:MadeUp")


@pytest.fixture
def toml(tmp_path):
    def write(text):
        file = tmp_path / "settings.toml"
        file.write_text(text)
        return file

    return write


def test_order_is_defaults_preset_file(made_up, toml):
    file = toml('method = "made_up"\npreset = "fast"\n[made_up]\nlength = 0.7\n')
    assert resolve("made_up") == MadeUp()
    assert resolve("made_up", preset="fast") == MadeUp(count=2, length=0.1)
    assert resolve(file=file) == MadeUp(count=2, length=0.7)
    assert resolve("made_up", preset="balanced", file=file) == MadeUp(length=0.7)


def test_auto_is_the_first_method():
    assert method_name(resolve("auto")) == next(iter(METHODS))
    assert method_name(resolve("auto", default="neus2")) == "neus2"


def test_method_asked_for_beats_the_files(made_up, toml):
    assert resolve("gridpull", file=toml('method = "made_up"\n[gridpull]\nrounds = 7\n[made_up]\ncount = 3\n')) == GridPull(rounds=7)


def test_round_trip_keeps_every_type(made_up, toml):
    method = MadeUp(count=-3, length=1e-300, flag=True, name='quo"te\n', kind="b", maybe=0.1 + 0.2, sizes=(5,))
    choices = Choices(method="made_up", resolution=64, open=False, sharp=True, seed=3, budget=1.5)
    file = toml(to_toml(method, choices))
    assert resolve(file=file) == method
    assert read_choices(file) == choices


@pytest.mark.parametrize("method", METHODS)
def test_every_preset_is_valid_and_survives_a_round_trip(method, toml):
    assert "balanced" in presets(method)
    for preset in presets(method):
        settings = resolve(method, preset=preset)
        assert resolve(file=toml(to_toml(settings))) == settings


def test_as_dict_holds_what_a_file_can():
    assert as_dict(MadeUp()) == {"count": 1, "length": 0.5, "flag": False, "name": "x", "kind": "a", "sizes": [1, 2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[made_up]\nlenght = 1.0", "no setting 'lenght'; did you mean 'length'"),
        ("[made_up]\nzzz = 1.0", "known are count, length"),
        ("[made_up]\ncount = 1.5", "count must be a whole number, got 1.5"),
        ("[made_up]\ncount = true", "count must be a whole number, got True"),
        ("[made_up]\nlength = true", "length must be a finite number, got True"),
        ("[made_up]\nlength = nan", "length must be a finite number, got nan"),
        ("[made_up]\nlength = '1'", "length must be a finite number, got '1'"),
        ("[made_up]\nflag = 1", "flag must be true or false, got 1"),
        ("[made_up]\nname = 1", "name must be text in quotes, got 1"),
        ("[made_up]\nkind = 'c'", "kind must be one of 'a', 'b', got 'c'"),
        ("[made_up]\nsizes = 3", "sizes must be a list, got 3"),
        ("[made_up]\nsizes = [1, 'two']", "sizes[1] must be a whole number, got 'two'"),
        ("[made_up]\nmaybe = 'x'", "maybe must be a finite number, got 'x'"),
        ("resolutoin = 3", "no setting 'resolutoin'; did you mean 'resolution'"),
        ("budget = 'soon'", "budget must be a finite number, got 'soon'"),
        ("resolution = '3'", "resolution must be a whole number, got '3'"),
        ("[madeup]\ncount = 1", "table [madeup]; did you mean 'made_up'"),
        ("made_up = 3", "'made_up' must be a table"),
        ("preset = 'slow'", "no preset 'slow'; choose one of balanced, fast"),
        ("method = 'poisson'", "no method 'poisson'; choose one of"),
        ("count = = 1", "isn't TOML"),
    ],
)
def test_what_does_not_fit_is_named(text, said, made_up, toml):
    with pytest.raises(InputError) as caught:
        resolve("auto" if "method" in text else "made_up", file=toml(text))
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""], ids=["binary", "empty"])
def test_a_file_that_is_not_text_is_refused_and_an_empty_one_changes_nothing(content, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    if content:
        with pytest.raises(InputError, match="isn't TOML"):
            resolve(file=file)
    else:
        assert resolve(file=file) == resolve()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml can't be read: No such file"):
        resolve(file=tmp_path / "nowhere.toml")


def test_settings_of_every_method_load_without_torch():
    import subprocess
    import sys

    code = "import sys, surfrecon.settings as s; [s.presets(m) for m in s.METHODS]; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
