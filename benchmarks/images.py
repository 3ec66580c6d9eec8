"""Surfaces from photographs: visual hull, plane-sweep stereo with gridpull, and the whole command, held against each other and the truth.

Cases: spot (rendered, 36 views) and relic (rendered here, 40 views of 512 pixels, with hollows that no silhouette shows) have an exact
truth, the walnut (12 views) a reference cloud, DTU's scan 24, dino and the fountain none: there views that were held out, the views'
agreement and silhouettes must do. Every mesh is measured as it is, all its pieces.

    python benchmarks/images.py                          # all, each case a section of RESULTS.md
    python benchmarks/images.py --only spot,walnut       # the sections of some
    python benchmarks/images.py --makers hull            # shown only
    python benchmarks/images.py --pictures FOLDER        # and pictures of every mesh
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from results import DATA, record, table
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, label

from surfrecon.data_tools.render_views import HELD_OUT, options_parser, photograph
from surfrecon.data_tools.view_writers import write_views
from surfrecon.errors import SurfreconError
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.hull_surface import hull_mesh
from surfrecon.io import read_mesh, read_scan, read_views
from surfrecon.metrics import closest, compare, sample_surface
from surfrecon.pictures import Scene, save_png, six_sides
from surfrecon.reconstruction import reconstruct
from surfrecon.repair import inspect
from surfrecon.run import Run
from surfrecon.stereo import stereo_cloud
from surfrecon.view_quality import assess, comparison
from surfrecon.views import Views
from surfrecon.visible import painted

SAMPLES = 50_000  # each side
HOLLOW = 0.01  # of the diagonal: truth further than this inside of the visual hull is what silhouettes can't show
NEAR = 0.005  # of the reference's diagonal
BOX_MARGIN = 0.05  # of its sides, that a data set's own box is widened by
EVERY = 8  # DTU: one view of so many is held out


class Skipped(Exception):
    """A maker that can't do a case, and why."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What makers are given, and what is held back from them.

    Attributes:
        views: to reconstruct from.
        held_out: more views, or None.
        truth: exact surface, or None.
        reference: points on the surface, good but not exact, or None.
        box: (2, 3) that the data set says holds the object; None where masks tell, or where nothing does.
    """

    views: Views
    held_out: Views | None = None
    truth: Mesh | None = None
    reference: PointCloud | None = None
    box: np.ndarray | None = None

    @cached_property
    def hull(self) -> Mesh | None:
        return None if self.views.masks is None else hull_mesh(self.views)

    @cached_property
    def hollows(self) -> np.ndarray:
        """(N, 3) samples of the truth that lie deep inside the visual hull."""
        points = sample_surface(self.truth, SAMPLES, 0)[0]
        return points[closest(points, self.hull)[0] > HOLLOW * diagonal(self.truth)]


@dataclass(frozen=True)
class Made:
    """A mesh, and the mean PSNR of held out views where its maker tells it itself; and what else that says."""

    mesh: Mesh
    psnr: float | None = None
    note: str = ""


def diagonal(item: Mesh | PointCloud) -> float:
    return float(np.linalg.norm(np.ptp(item.bounds(), axis=0)))


# Cases ---------------------------------------------------------------------------------------------------------------------------


def spot() -> Subject:
    folder = DATA / "mv_synth_spot"
    views = read_views(folder)
    test = np.array(["test" in name for name in views.names])
    return Subject(views[~test], views[test], truth=read_mesh(folder / "gt.ply"))


def relic() -> Subject:
    with tempfile.TemporaryDirectory() as name:
        folder, truth = Path(name) / "views", Path(name) / "truth.ply"
        words = ["relic", "-o", folder, "--truth", truth, "--views", 40, "--held-out", 8, "--resolution", 256]
        with redirect_stdout(sys.stderr):
            photograph(options_parser().parse_args([str(word) for word in words]))
        views, held_out = (replace(read_views(place), depths=None) for place in (folder, folder / HELD_OUT))
        return Subject(views, held_out, truth=read_mesh(truth))


def walnut() -> Subject:
    folder = DATA / "mv_robovision_a"
    return Subject(read_views(folder), reference=read_scan(folder / "reference_points.ply"), box=stated_box(folder))


def scan24() -> Subject:
    views = read_views(DATA / "mv_dtu_scan24")
    held = np.arange(len(views)) % EVERY == EVERY // 2
    return Subject(views[~held], views[held])


def dino() -> Subject:
    """Masks by its README's recipe: grey above 0.19, dilated by 10 pixels, eroded by 7; the largest piece, holes filled."""
    views = read_views(DATA / "mv_dino_sparse_ring")
    masks = []
    for image in views.images:
        bright = np.pad(image.mean(axis=2) > 0.19 * 255, 20)
        grown = binary_erosion(binary_dilation(bright, iterations=10), iterations=7)[20:-20, 20:-20]
        pieces, _ = label(grown)
        masks.append(binary_fill_holes(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])))
    return Subject(replace(views, masks=tuple(masks)))


def fountain() -> Subject:
    return Subject(read_views(DATA / "mv_epfl_fountain_p11"))


CASES: dict[str, Callable[[], Subject]] = {
    "spot": spot,
    "relic": relic,
    "walnut": walnut,
    "scan24": scan24,
    "dino": dino,
    "fountain": fountain,
}


def stated_box(folder: Path) -> np.ndarray:
    """(2, 3) the box of the object that a data set's transforms.json names, somewhat widened."""
    low, high = np.array(json.loads((folder / "transforms.json").read_text())["aabb"])
    return np.stack([low - BOX_MARGIN * (high - low), high + BOX_MARGIN * (high - low)])


# Makers --------------------------------------------------------------------------------------------------------------------------


def hull(subject: Subject) -> Made:
    if subject.views.masks is None:
        raise Skipped("there are no masks")
    return Made(hull_mesh(subject.views))


def stereo(subject: Subject) -> Made:
    """The plane-sweep cloud, cropped to the data set's box where it names one, fitted like any scan."""
    cloud = stereo_cloud(subject.views)
    if subject.box is not None:
        low, high = subject.box
        cloud = cloud[((cloud.points >= low) & (cloud.points <= high)).all(axis=1)]
    return Made(reconstruct(cloud, "gridpull", run=Run()).mesh)


def neus2(subject: Subject) -> Made:
    """What the command makes of a folder with these views, measured against those held out in a folder below."""
    command = [sys.executable, "-m", "surfrecon.apps.cli", "images"]
    with tempfile.TemporaryDirectory() as name:
        folder, target = Path(name) / "views", Path(name) / "mesh.ply"
        write_views(subject.views, folder)
        options = []
        if subject.held_out is not None:
            write_views(subject.held_out, folder / HELD_OUT)
            options = ["--hold-out", str(folder / HELD_OUT)]
        done = subprocess.run([*command, str(folder), "-o", str(target), "--json", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped((done.stderr.strip().splitlines() or ["the command failed"])[-1])
        report = json.loads(done.stdout)
        parts = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in report["timings"].items() if seconds >= 1)
        return Made(read_mesh(target), (report["views"].get("held_out") or {}).get("psnr"), parts)


MAKERS: dict[str, Callable[[Subject], Made]] = {"hull": hull, "stereo": stereo, "neus2": neus2}


PREAMBLE = f"""Lengths in thousandths of the truth's (or reference's) diagonal, exact distances both ways. Hollows: mean distance from the
truth that lies deeper than {HOLLOW:.0%} of the diagonal inside the visual hull. Near reference: share of its points within {NEAR:.1%} of
its diagonal. PSNR of vertex colours, or of the command's own renderings, within the masks."""

# Measures ------------------------------------------------------------------------------------------------------------------------

HEAD = ["maker", "distance", "Hausdorff", "hollows", "over the hull's", "near reference %", "mean", "genus (truth)", "solid"]
HEAD += ["held-out PSNR", "NCC", "IoU", "s"]


def against_truth(mesh: Mesh, subject: Subject) -> list[str]:
    """Distance, Hausdorff, and in the hollows the error and its ratio to the hull's; lengths in thousandths of the truth's diagonal."""
    if subject.truth is None:
        return [""] * 4
    result, thousandths = compare(mesh, subject.truth, samples=SAMPLES), 1000 / diagonal(subject.truth)
    text = [f"{result.distance * thousandths:.3f}", f"{result.hausdorff * thousandths:.2f}"]
    if subject.hull is None or not len(subject.hollows):
        return [*text, "", ""]
    error, hulls = (closest(subject.hollows, item)[0].mean() for item in (mesh, subject.hull))
    return [*text, f"{error * thousandths:.3f}", f"{error / hulls:.3f}"]


def against_reference(mesh: Mesh, subject: Subject) -> list[str]:
    """Share of the reference's points near the mesh, and the mean of all, in thousandths of the reference's diagonal."""
    if subject.reference is None:
        return ["", ""]
    away = closest(subject.reference.points, mesh)[0] / diagonal(subject.reference)
    return [f"{(away < NEAR).mean():.1%}", f"{1000 * away.mean():.3f}"]


def renderings(mesh: Mesh, views: Views) -> list[np.ndarray] | None:
    """What views see of a mesh in its vertices' colours; None of one without."""
    scene = Scene(mesh)
    return None if mesh.colors is None else [painted(mesh, views, view, scene=scene) for view in range(len(views))]


def measured(made: Made, subject: Subject) -> tuple[list[str], dict]:
    """The cells after a maker's name but the seconds, and what assess() tells."""
    mesh, report = made.mesh, inspect(made.mesh)
    shown = None if subject.held_out is None else renderings(mesh, subject.held_out)
    told = assess(mesh, subject.views, held_out=None if shown is None else subject.held_out, renderings=shown)
    psnr = made.psnr or (told["held_out"]["psnr"] if shown else None)
    genus = "" if report.genus is None else str(report.genus)
    if subject.truth is not None:
        genus += f" ({inspect(subject.truth).genus})"
    agreement, outline = told["photo_consistency"], told["silhouettes"]
    number = lambda value, digits: "" if value is None else f"{value:.{digits}f}"
    return [
        *against_truth(mesh, subject),
        *against_reference(mesh, subject),
        genus,
        "yes" if report.solid else "NO",
        number(psnr, 2),
        number(agreement and agreement["ncc"], 3),
        number(outline and outline["iou"], 4),
    ], told


def pictures(mesh: Mesh, subject: Subject, stem: Path) -> None:
    """A PNG of the mesh's six sides, and one of its colours beside photographs where it has some."""
    save_png(six_sides(mesh, size=(480, 400)), stem.with_suffix(".png"))
    views = subject.views if subject.held_out is None else subject.held_out
    shown = renderings(mesh, views)
    if shown is not None:
        comparison(views, shown, stem.with_name(f"{stem.name}-beside.png"))


def chosen(text: str, known: dict) -> list[str]:
    names = text.split(",") if text else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no {unknown[0]}; choose among {', '.join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="CASES", help=f"some of {','.join(CASES)}")
    parser.add_argument("--makers", default="", metavar="NAMES", help=f"some of {','.join(MAKERS)}; nothing is recorded then")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where pictures of the meshes go")
    options = parser.parse_args()
    cases, makers = chosen(options.only, CASES), chosen(options.makers, MAKERS)
    if not DATA.is_dir() and cases != ["relic"]:
        raise SystemExit(f"the photographs are not here: {DATA}")
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    for case in cases:
        text = f"{PREAMBLE}\n\n{held_against_each_other(case, makers, options.pictures)}"
        print(text, flush=True)
        if not options.makers:
            record(f"Photographs: {case}", text)


def held_against_each_other(case: str, makers: list[str], folder: Path | None) -> str:
    """The table of one case, and notes."""
    rows, notes, subject = [], [], CASES[case]()
    for maker in makers:
        start = time.perf_counter()
        try:
            made = MAKERS[maker](subject)
        except (Skipped, SurfreconError) as reason:
            notes.append(f"{maker}: left out, {reason}")
            print(notes[-1], flush=True)
            continue
        seconds = time.perf_counter() - start
        cells, told = measured(made, subject)
        rows.append([maker, *cells, f"{seconds:.0f}"])
        notes += [f"{maker}: {says}" for says in (made.note, *told["bad_views"]) if says]
        print("  ".join(rows[-1]), flush=True)
        if folder:
            pictures(made.mesh, subject, folder / f"{case}-{maker}")
    return table(HEAD, rows) + "\n" + "".join(f"\n- {note}" for note in notes)


if __name__ == "__main__":
    main()
