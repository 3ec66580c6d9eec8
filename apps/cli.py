"""The command line: which commands there are, how their help reads, and how each of them ends.

A command is a module of this folder with EXAMPLES, add_options(parser) and run(options). What is heavy it imports inside functions, so that
help answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from surfrecon.apps.console import INTERRUPTED, guarded
from surfrecon.apps.machine import check_address_space

COMMANDS = {
    "scan": "turn a scan (point cloud) into a watertight mesh",
    "images": "turn photographs into a watertight mesh",
    "info": "say what a file holds, and what reconstructing it would take",
    "evaluate": "measure a mesh against the truth",
    "export": "make a mesh lighter, smoother or closed, for graphics tools",
    "view": "show scans and meshes in a window",
    "render": "draw a mesh or a scan into a PNG, without a display",
    "train-prior": "teach a network shapes, for --method convonet",
    "doctor": "say what this machine offers and what surfrecon makes of it",
}
READ_ONLY = ("info", "evaluate", "doctor")


class Parser(argparse.ArgumentParser):
    """argparse, with examples first in the help and usage errors in one line."""

    def __init__(self, *args, examples: str = "", **options):
        super().__init__(*args, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.examples = examples
        self.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")

    def format_help(self) -> str:
        lines = "".join(f"  {line}\n" for line in self.examples.strip().splitlines())
        return f"{self.description}\n\nexamples:\n{lines}\n{self.usage_and_options()}"

    def usage_and_options(self) -> str:
        description, self.description = self.description, None
        try:
            return super().format_help()
        finally:
            self.description = description

    def error(self, message: str):
        self.exit(2, f"surfrecon: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    def __call__(self, parser, *_):
        from surfrecon.apps.versions import version

        print(f"surfrecon {version('surfrecon')}")
        parser.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """`surfrecon COMMAND ...`: the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in COMMANDS:
        return _run(argv[0], argv[1:], f"surfrecon {argv[0]}")
    parser = Parser(
        prog="surfrecon",
        usage="surfrecon COMMAND ...",
        description="surfrecon: from a scan, or photographs, to a watertight mesh in its own coordinates.",
        examples="surfrecon scan scan.ply -o mesh.ply\nsurfrecon images photos -o mesh.glb\n"
        "surfrecon info scan.laz\nsurfrecon COMMAND --help",
    )
    commands = parser.add_argument_group("commands")
    for name, purpose in COMMANDS.items():
        commands.add_argument(name, nargs="?", help=purpose)
    try:
        if not argv:
            parser.error("which command?")
        if argv[0].startswith("-"):
            parser.parse_args(argv)
        parser.error(f"there is no command {argv[0]!r}")
    except SystemExit as stop:
        return stop.code


def reconstruct_from_scan(argv: Sequence[str] | None = None) -> int:
    """`reconstruct-from-scan ...`, the same as `surfrecon scan`: the exit code."""
    return _run("scan", sys.argv[1:] if argv is None else argv, "reconstruct-from-scan")


def reconstruct_from_images(argv: Sequence[str] | None = None) -> int:
    """`reconstruct-from-images ...`, the same as `surfrecon images`: the exit code."""
    return _run("images", sys.argv[1:] if argv is None else argv, "reconstruct-from-images")


def _run(name: str, argv: Sequence[str], prog: str) -> int:
    try:
        return _ran(name, argv, prog)
    except KeyboardInterrupt:  # before the command had begun
        print(f"surfrecon: {INTERRUPTED}", file=sys.stderr)
        return 130


def _ran(name: str, argv: Sequence[str], prog: str) -> int:
    command: ModuleType = import_module(f"surfrecon.apps.{name.replace('-', '_')}")
    parser = Parser(prog=prog, description=f"{prog}: {COMMANDS[name]}.", examples=command.EXAMPLES.replace("PROG", prog))
    command.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout, and nothing else there")
    parser.add_argument("-v", "--verbose", action="store_true", help="log details; show the traceback of a failure")
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return stop.code
    options.command = [prog, *argv]
    # Threads that spin between OpenMP regions made a small run 3 times slower where another process had the cores (2 cores, libgomp).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    def run() -> None:
        check_address_space()
        command.run(options)

    return guarded(run, verbose=options.verbose, writes=name not in READ_ONLY)


if __name__ == "__main__":
    sys.exit(main())
