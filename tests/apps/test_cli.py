"""The command line as a whole: help, version, usage errors, and speed before the work."""

import os
import signal
import subprocess
import sys
import time

import pytest

from surfrecon.apps.cli import COMMANDS, main, reconstruct_from_scan

HELP_LIMIT = 1.5  # seconds
HEAVY = ("torch", "scipy", "trimesh", "open3d", "rich", "PIL")


@pytest.mark.parametrize("entry", ["main(['--help'])", "reconstruct_from_scan(['--help'])", "main(['doctor', '--help'])"])
def test_help_is_quick_and_loads_nothing_heavy(entry):
    code = f"import sys; from surfrecon.apps.cli import *; code = {entry}; sys.exit(code or sorted(set({HEAVY}) & set(sys.modules)) or 0)"
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        taken.append(time.perf_counter() - start)
        assert (done.returncode, done.stderr) == (0, "")
    assert min(taken) < HELP_LIMIT


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_opens_with_examples(command, surfrecon):
    ended = surfrecon(command, "--help")
    assert ended.code == 0
    assert ended.out.index("examples:") < ended.out.index("usage:")
    assert f"  surfrecon {command}" in ended.out


def test_help_lists_every_command(surfrecon):
    out = surfrecon("--help").out
    assert all(f"  {command}" in out for command in COMMANDS)


def test_reconstruct_from_scan_shows_its_own_name(capsys):
    assert reconstruct_from_scan(["--help"]) == 0
    assert "  reconstruct-from-scan scan.ply -o mesh.ply\n" in capsys.readouterr().out


def test_version(surfrecon):
    assert surfrecon("--version").out == surfrecon("scan", "--version").out
    assert surfrecon("--version").out.startswith("surfrecon 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which command?"),
        (["skan"], "no command 'skan'"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["scan"], "the following arguments are required: IN, -o/--output"),
        (["scan", "a.ply", "-o", "b.ply", "--bogus"], "unrecognized arguments: --bogus"),
        (["scan", "a.ply", "-o", "b.ply", "--res", "3"], "unrecognized arguments: --res"),
        (["scan", "a.ply", "-o", "b.ply", "--resolution", "many"], "argument --resolution: must be a whole number >= 2, got 'many'"),
        (["scan", "a.ply", "-o", "b.ply", "--resolution", "0"], "argument --resolution: must be a whole number >= 2, got '0'"),
        (["scan", "a.ply", "-o", "b.ply", "--seed", "-1"], "argument --seed: must be a whole number >= 0, got '-1'"),
        (["scan", "a.ply", "-o", "b.ply", "--threads", "0"], "argument --threads: must be a whole number >= 1, got '0'"),
        (["render", "a.ply", "-o", "b.png", "--size", "big"], "argument --size: must be WIDTHxHEIGHT"),
        (["evaluate", "a.ply"], "the following arguments are required: --truth"),
    ],
)
def test_usage_errors_end_with_2_and_one_sentence(arguments, said, surfrecon):
    ended = surfrecon(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and ended.err.startswith("surfrecon: ") and ended.err.count("\n") == 1


def test_main_reads_the_process_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["surfrecon", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("surfrecon ")


def test_an_interruption_before_the_command_has_begun_is_one_sentence(monkeypatch, surfrecon):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("surfrecon.apps.cli.import_module", interrupted)
    ended = surfrecon("doctor")
    assert (ended.code, ended.err) == (128 + signal.SIGINT, "surfrecon: interrupted; nothing half-written is left\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_log_on_a_full_disk_does_not_change_the_exit_code(tmp_path):
    command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(tmp_path / "none.ply"), "-o", str(tmp_path / "mesh.ply")]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stderr=full, check=False).returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_too_few_addresses_for_the_libraries_are_said_with_code_3(tmp_path):
    import resource

    command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(tmp_path / "none.ply"), "-o", str(tmp_path / "mesh.ply")]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("surfrecon: out of memory: a limit (ulimit -v) leaves ") and done.stderr.endswith("; raise the limit\n")
