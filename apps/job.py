"""What the commands that reconstruct share: options, checks before the work, files after it, and how a run is told of."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps.options import seconds, whole
from surfrecon.errors import InputError, ResourceError
from surfrecon.settings import Choices

if TYPE_CHECKING:
    from surfrecon.reconstruction import Reconstruction
    from surfrecon.run import Run, Step
    from surfrecon.views import Scan

log = logging.getLogger("surfrecon")

REFUSED_EXCESS = 4  # an estimate of this many times the free memory is refused; a smaller excess is only warned about


@dataclass(frozen=True)
class Output:
    """The files of one result, all named after the mesh."""

    mesh: Path

    @property
    def sheet(self) -> Path:
        """The trimmed, open surface."""
        return self.mesh.with_suffix(f".open{self.mesh.suffix}")

    @property
    def folder(self) -> Path:
        return self.mesh.with_suffix(".run")

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def page(self) -> Path:
        return self.folder / "report.html"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.toml"

    @property
    def taken(self) -> tuple[Path, ...]:
        """What must not be there yet."""
        return self.mesh, self.sheet, self.report

    def unfinished(self) -> bool:
        """Whether an interrupted run has left checkpoints."""
        from surfrecon.checkpoints import Checkpoints
        from surfrecon.run import Run

        return Checkpoints(Run(folder=self.folder)).exist()


@dataclass(frozen=True)
class Job:
    """What one command does in its own way.

    Attributes:
        inputs: files and folders that the user named.
        method: that "auto" stands for.
        read: the scan, given the run: what is costly may be left in its folder, and found there again by a run that resumes.
        facts: of the scan, for the report.
        write: a result's mesh into a file.
        more: what else the report says of a result, its files written into the run's folder: given result, run and folder.
        watch: called with each step of the run, besides the progress that is shown.
        prefer: the method that suits a scan better than `method`, where the user leaves the choice; None keeps to that.
    """

    inputs: Sequence[Path]
    method: str
    read: Callable[[Run], Scan]
    facts: Callable[[Scan], dict[str, Any]]
    write: Callable[[Reconstruction, Path, Run], None]
    more: Callable[[Reconstruction, Run, Path], dict[str, Any]] = lambda result, run, folder: {}
    prefer: Callable[[Scan, Run], str] | None = None
    watch: Callable[[Step], None] | None = None


def add_options(parser: argparse.ArgumentParser, methods: Sequence[str]) -> argparse._ArgumentGroup:
    """The options of every such command; the group of those that say what is computed, for more of them."""
    from surfrecon.settings import presets

    known = "; ".join(f"{name}: {', '.join(presets(name))}" for name in methods)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="mesh to write; beside it OUT.open.* and OUT.run/")
    what = parser.add_argument_group("what is computed")
    what.add_argument("--method", default="auto", metavar="NAME", help=f"auto, {', '.join(methods)} (default: auto)")
    what.add_argument("--preset", metavar="NAME", help=f"{known} (default: balanced)")
    what.add_argument("--settings", type=Path, metavar="FILE.toml", help="settings of the method, on top of the preset; see OUT.run/")
    what.add_argument("--resolution", type=whole(2), metavar="N", help="cells along the unit box for the mesh (default: from the spacing)")
    what.add_argument("--open", action=argparse.BooleanOptionalAction, default=None, help="whether it is open (default: from the data)")
    what.add_argument("--sharp", action=argparse.BooleanOptionalAction, default=None, help="place vertices on sharp edges and corners")
    what.add_argument("--seed", type=whole(0), metavar="N", help="of every random number (default: 0)")
    how = parser.add_argument_group("how")
    how.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    how.add_argument("--backend", default="auto", metavar="B", help="one backend for every op, see surfrecon doctor (default: auto)")
    how.add_argument("--threads", type=whole(1), metavar="N", help="processors to use (default: all)")
    how.add_argument("--budget", type=seconds, metavar="SECONDS", help="have the result by then, coarser if need be (default: no limit)")
    how.add_argument("--overwrite", action="store_true", help="replace OUT, OUT.open.* and OUT.run/ where they exist")
    how.add_argument("--resume", action="store_true", help="continue the interrupted run of the same command, from OUT.run/")
    how.add_argument("--view", action="store_true", help="show the surface so far in a window; needs pip's surfrecon[open3d]")
    how.add_argument("--dry-run", action="store_true", help="read and check everything, show settings and estimate, write nothing")
    return what


def work(job: Job, options: argparse.Namespace) -> None:
    """Do a job, from the options to the files and what is said of them."""
    with watched(options) as watch:
        report, _ = done(replace(job, watch=watch), options)
    tell(report, options)


def watched(options: argparse.Namespace) -> AbstractContextManager[Callable[[Step], None] | None]:
    """Job.watch as --view asks for it, and its window for as long as the block."""
    if not options.view or options.dry_run:
        return nullcontext()
    from surfrecon.apps.preview import Preview

    return Preview()


def tell(report: dict[str, Any], options: argparse.Namespace) -> None:
    """Say on stdout what a job came to; of one that was interrupted, on stderr, how it goes on."""
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.report import plan_lines, report_lines
    from surfrecon.run import Stop

    if options.json:
        print_json(report)
    else:
        print_lines(plan_lines(report) if options.dry_run else report_lines(report))
    if report.get("interrupted"):
        raise Stop(f"interrupted; {report['files'][0]} is the best so far, and --resume continues the run")


def done(job: Job, options: argparse.Namespace, before: Reconstruction | None = None) -> tuple[dict[str, Any], Reconstruction | None]:
    """Do a job: the report and what was reconstructed; of a dry run the plan and nothing.

    Args:
        before: what the frame before came to, if this is the next one of a sequence.
    """
    from surfrecon.apps.console import INTERRUPTED
    from surfrecon.apps.files import claimed
    from surfrecon.run import Stop

    started, output = time.perf_counter(), Output(options.output)
    _check_output(options, output)
    with nullcontext(False) if options.dry_run else claimed(output.folder, output.mesh) as killed:
        _check_output(options, output)  # again: another run may have ended before this one had claimed its place
        if output.unfinished() and not (options.resume or options.overwrite):
            left = f"{output.folder} holds checkpoints of an interrupted run"
            raise InputError(f"{left}; add --resume to continue it, or --overwrite to start again")
        try:
            return _done(job, options, output, killed, started, before)
        except KeyboardInterrupt:
            if output.unfinished():
                raise Stop(f"{INTERRUPTED}, and --resume continues the run") from None
            raise


def _done(
    job: Job, options: argparse.Namespace, output: Output, killed: bool, started: float, before: Reconstruction | None
) -> tuple[dict[str, Any], Reconstruction | None]:
    """The same, in a folder that is ours; whether an earlier run was killed there."""
    from surfrecon.apps.console import Progress
    from surfrecon.apps.machine import chosen_device
    from surfrecon.run import Run

    method, choices = _checked(job, options, output)
    device, passed_over = chosen_device(options.device)
    with Progress(job.watch) as progress:
        resume = options.resume and (output.unfinished() or not killed)
        run = Run(device, choices.seed, options.threads, options.backend, output.folder, progress, choices.budget, started, resume)
        with _heard(run.warnings, logging.WARNING):  # those of readers and writers; the run's own are there when they reach the log
            if passed_over:
                run.warn(passed_over)
            if options.resume and not resume:
                run.warn("the run was killed before its first checkpoint: it starts again")
            with run.stage("read"), _heard(run.kept.setdefault("remarks", []), logging.INFO):
                scan = job.read(run)
            if job.prefer and options.method == "auto" and not options.settings:
                with run.stage("choose"):
                    method = _preferred(job, scan, method, options.preset, run)
            plan = _plan(job, scan, method, choices, run)
            if options.dry_run:
                return plan, None
            return _reconstruct(job, scan, method, choices, run, output, {"command": options.command, **plan}, before)


@contextmanager
def _heard(sentences: list[str], level: int) -> Iterator[None]:
    """Add what is logged, from a level on, to a list, each sentence once; signs of progress aside."""

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() not in sentences and record.module != "console":
                sentences.append(record.getMessage())

    keeper = Keeper(level)
    log.addHandler(keeper)
    try:
        yield
    finally:
        log.removeHandler(keeper)


def _checked(job: Job, options: argparse.Namespace, output: Output) -> tuple[Any, Choices]:
    """Method and choices, after everything that can be refused before the scan is read."""
    from surfrecon import ops
    from surfrecon.settings import read_choices, resolve

    inputs = [file.resolve() for file in job.inputs]
    for file, resolved in zip(job.inputs, inputs):
        if inputs.count(resolved) > 1:
            raise InputError(f"{file} is named twice; name each part of the scan once")
        if resolved in {file.resolve() for file in output.taken}:
            raise InputError(f"{file} would be overwritten by the result; name another file with -o")
    given = read_choices(options.settings) if options.settings else Choices()
    method = resolve(options.method, preset=options.preset, file=options.settings, default=job.method)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    ops.use(options.backend, device=options.device)
    first = lambda *values: next((value for value in values if value is not None), None)
    return method, Choices(
        resolution=first(options.resolution, given.resolution),
        open=first(options.open, given.open),
        sharp=first(options.sharp, given.sharp, False),
        seed=first(options.seed, given.seed, 0),
        budget=first(options.budget, given.budget),
    )


def _check_output(options: argparse.Namespace, output: Output) -> None:
    """Refuse outputs that can't be written, or are there already."""
    from surfrecon import io
    from surfrecon.apps.files import check_output

    # A run to resume may have left the best it had.
    check_output(output.mesh, suffixes=io.MESH_WRITERS, taken=output.taken, overwrite=options.overwrite or options.resume)
    if output.folder.exists() and not output.folder.is_dir():
        raise InputError(f"{output.folder} is in the way of the run's folder; move it, or name another file with -o")
    if output.folder.exists() and not os.access(output.folder, os.W_OK | os.X_OK):
        raise InputError(f"no permission to write into the run's folder {output.folder}; change that, or name another file with -o")


def _preferred(job: Job, scan: Scan, method: Any, preset: str | None, run: Run) -> Any:
    """The method that suits a scan, by the preset that was asked for; the one that is given where it has no such preset."""
    from surfrecon.settings import method_name, presets, resolve

    name = job.prefer(scan, run)
    if name == method_name(method) or (preset is not None and preset not in presets(name)):
        return method
    log.info("method %s: a side of the scan is missing", name)
    return resolve(name, preset=preset)


def _plan(job: Job, scan: Scan, method: Any, choices: Choices, run: Run) -> dict[str, Any]:
    """What is known before the work: facts of the input, resolved settings, estimate."""
    from surfrecon import headroom
    from surfrecon.apps.console import size_text
    from surfrecon.reconstruction import estimate
    from surfrecon.settings import as_dict, method_name

    cost, free = estimate(scan, method, choices.resolution), headroom.available()
    if free and cost.bytes > free:
        excess = f"this takes about {size_text(cost.bytes)} of memory at resolution {cost.resolution}, but {size_text(free)} are free"
        if cost.bytes > REFUSED_EXCESS * free:
            raise ResourceError(f"{excess}; lower --resolution, take --preset fast or thin the scan")
        run.warn(f"{excess}: it may be slow, or fail")
    name = method_name(method)
    settings = {
        "method": name,
        "resolution": choices.resolution,
        "open": choices.open,
        "sharp": choices.sharp,
        "seed": choices.seed,
        "budget": choices.budget,
        name: as_dict(method),
    }
    return {"input": job.facts(scan), "settings": settings, "estimate": asdict(cost), "warnings": run.warnings}


def _reconstruct(
    job: Job,
    scan: Scan,
    method: Any,
    choices: Choices,
    run: Run,
    output: Output,
    known: dict[str, Any],
    before: Reconstruction | None,
) -> tuple[dict[str, Any], Reconstruction]:
    """Do the work, write the files, and return the report and the result."""
    from surfrecon.apps.console import to_json
    from surfrecon.apps.files import staged
    from surfrecon.apps.gate import check_mesh_file
    from surfrecon.apps.report import assemble
    from surfrecon.checkpoints import Checkpoints
    from surfrecon.io import write_mesh
    from surfrecon.reconstruction import reconstruct
    from surfrecon.settings import to_toml

    wanted = {"resolution": choices.resolution, "open": choices.open, "sharp": choices.sharp}
    result: Reconstruction = reconstruct(scan, method, **wanted, run=run, before=before)
    sheet = result.sheet if result.sheet is not None and len(result.sheet.faces) else None
    if result.sheet is not None and sheet is None:
        run.warn("no part of the surface lies near the scan, so there is no open surface to write")
    files = [output.mesh, *([output.sheet] if sheet else [])]
    with staged(output.mesh.parent, output.mesh.name) as folder:
        stage = Output(folder / output.mesh.name)
        with run.stage("write"):
            job.write(result, stage.mesh, run)
            if sheet:
                write_mesh(sheet, stage.sheet)
        with run.stage("check"):
            check_mesh_file(stage.mesh, output.mesh)
        stage.folder.mkdir()
        more = job.more(result, run, stage.folder)
        files += [*(output.folder / file.name for file in sorted(stage.folder.iterdir())), output.settings]
        stage.settings.write_text(to_toml(method, choices), encoding="utf-8")
        with run.stage("page"):
            complete = known | assemble(result, run, [*files, output.page, output.report]) | more | {"remarks": run.kept["remarks"]}
            made = _made_page(stage.page, complete, result, job.inputs, run)
        report = known | assemble(result, run, [*files, *([output.page] if made else []), output.report]) | more
        stage.report.write_text(to_json(report), encoding="utf-8")
    for file, there in ((output.sheet, sheet), (output.page, made)):
        if not there:
            file.unlink(missing_ok=True)  # of the result that this one replaces
    if not run.stopped:
        Checkpoints(run).clear()
    return report, result


def _made_page(file: Path, report: dict[str, Any], result: Reconstruction, inputs: Sequence[Path], run: Run) -> bool:
    """Write the page of a run, and say whether that went well: a mesh isn't lost for want of a page."""
    try:
        from surfrecon.apps.page import write_page

        write_page(file, report, result, inputs, beside=file.parent)
    except Exception as error:  # whatever it is, of any library
        file.unlink(missing_ok=True)
        run.warn(f"no {file.name} could be made: {type(error).__name__}: {error}")
        log.debug("the page failed", exc_info=True)
        return False
    return True
