"""The pages of docs/ and the README: their links lead somewhere, their commands are understood, their programs run."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from surfrecon.apps import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands() -> list[tuple[str, str]]:
    lines = [(page.name, line.split(" #")[0].strip()) for page in PAGES for text in blocks(page, "", "bash") for line in text.splitlines()]
    return [(page, line) for page, line in lines if re.match(r"(surfrecon|reconstruct-from-\w+) ", line)]


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_that_a_page_shows_is_understood(page, line, monkeypatch):
    program, *words = shlex.split(line)
    heard = []
    monkeypatch.setattr(cli, "guarded", lambda work, **_: heard.append(True) or 0)
    run = cli.main if program == "surfrecon" else getattr(cli, program.replace("-", "_"))
    if words != ["COMMAND", "..."]:
        assert run(words) == 0 and heard, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"https?://|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_page_of_settings_is_what_the_code_says():
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run python docs/make_settings.py"


def test_program_of_the_python_page_runs(tmp_path):
    program = "\n".join(blocks(ROOT / "docs" / "python.md", "python")[:3]).replace("(1500, 3)", "(500, 3)")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, capture_output=True, timeout=300)


def test_added_method_reconstructs_a_bracket():
    done = subprocess.run([sys.executable, ROOT / "examples" / "offset_planes.py"], check=True, capture_output=True, text=True, timeout=300)
    errors = [float(off) for off in re.findall(r"vertices off by (\S+) on average", done.stdout)]
    four_planes, one, gridpull = errors
    assert gridpull < 0.7 * four_planes < 0.7 * one


def test_notebook_runs():
    nbformat, nbclient = (pytest.importorskip(name, reason=f"{name} isn't installed") for name in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel", reason="ipykernel isn't installed")
    notebook = nbformat.read(ROOT / "examples" / "reconstruct.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert any("faces, volume" in str(cell.get("outputs")) for cell in notebook.cells)


def test_pages_build_without_warnings(tmp_path):
    pytest.importorskip("myst_parser", reason="sphinx and myst-parser aren't installed")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists() and (tmp_path / "troubleshooting.html").exists()
