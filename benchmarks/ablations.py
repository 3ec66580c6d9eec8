"""What each part of neus2 is worth: trainings that differ in one setting, from one start, measured as images.py does.

    python benchmarks/ablations.py                  # spot and the walnut, and RESULTS.md
    python benchmarks/ablations.py --only spot      # shown only
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from images import CASES, Subject, against_reference, against_truth, chosen
from results import DATA, record, table

from surfrecon.extract import marching_cubes
from surfrecon.fields import Field
from surfrecon.fields.radiance import RadianceField
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.hull_surface import hull_surface
from surfrecon.image_quality import psnr
from surfrecon.methods.gridpull import GridPull
from surfrecon.methods.neus2 import NeuS2
from surfrecon.photo_consistency import photo_consistency
from surfrecon.reconstruction import surface_points
from surfrecon.rendering import pixel_width
from surfrecon.repair import inspect, supported
from surfrecon.run import Run
from surfrecon.views import Views

SUBJECTS = ("spot", "walnut")
VARIANTS = {
    "as it is": {},
    "no patches": {"patches": 0.0},
    "patches weigh .005": {"patches": 0.005},
    "patches weigh .1": {"patches": 0.1},
    "no smoothness": {"smooth": 0.0},
    "smoothness weighs .2": {"smooth": 0.2},
    "eikonal weighs .1": {"eikonal": 0.1},
    "no exposures": {"exposure": False},
}
HEAD = ["training", "distance", "Hausdorff", "hollows", "over the hull's", "near reference %", "mean", "genus", "held-out PSNR", "NCC"]


def starts(unit: Views) -> dict[str, tuple[PointCloud, Field]]:
    """Points and a start of them: those that the photographs agree on, and, where there are masks, their visual hull alone."""
    clouds = {"stereo": surface_points(unit, Run())}
    if unit.masks is not None:
        clouds["the visual hull alone"] = hull_surface(unit, side=pixel_width(unit))
    settings = NeuS2.starts_from[1]
    return {name: (cloud, GridPull(**settings).fit(cloud, Run())) for name, cloud in clouds.items()}


def measured(field: Field, points: PointCloud, subject: Subject, unit_from_world: Similarity, resolution: int) -> list[str]:
    """The cells after a training's name."""
    mesh = supported(marching_cubes(field, resolution=resolution), points.points).transformed(unit_from_world.inverse())
    genus = inspect(mesh).genus
    cells = [*against_truth(mesh, subject), *against_reference(mesh, subject), "" if genus is None else str(genus)]
    return [*cells, foreseen(field, subject, unit_from_world), agreement(mesh, subject)]


def foreseen(field: Field, subject: Subject, unit_from_world: Similarity) -> str:
    """Mean PSNR of held-out photographs within their masks."""
    if subject.held_out is None or not isinstance(field, RadianceField):
        return ""
    views, lattice = subject.held_out.transformed(unit_from_world), field.lattice()
    values = [psnr(field.photograph(views, view, lattice), views.images[view], views.masks[view]) for view in range(len(views))]
    return f"{np.mean(values):.2f}"


def agreement(mesh: Mesh, subject: Subject) -> str:
    """Mean NCC of patches between neighbouring views."""
    return f"{photo_consistency(mesh, subject.views).ncc:.3f}"


def rows_of(case: str) -> list[list[str]]:
    subject = CASES[case]()
    unit_from_world = Similarity.fit(subject.views)
    unit = subject.views.transformed(unit_from_world)
    begun, rows = starts(unit), []
    resolution = NeuS2().extracted(pixel_width(unit))
    trainings = [(name, change, "stereo") for name, change in VARIANTS.items()]
    trainings += [(f"from {name}", {}, name) for name in begun if name != "stereo"]
    for name, (points, start) in begun.items():
        rows.append([f"{case}: {name}, not trained", *measured(start, points, subject, unit_from_world, resolution)])
        print("  ".join(rows[-1]), flush=True)
    for name, change, begin in trainings:
        points, start = begun[begin]
        field = replace(NeuS2(), **change).fit(unit, Run(), start)
        rows.append([f"{case}: {name}", *measured(field, points, subject, unit_from_world, resolution)])
        print("  ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="CASES", help=f"some of {','.join(SUBJECTS)}; nothing is recorded then")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the photographs are not here: {DATA}")
    cases = chosen(options.only, {name: CASES[name] for name in SUBJECTS})
    text = f"""Columns as in the tables of photographs; small handles are left in. Each training begins at the same surface, gridpull's
coarse one of the points that the photographs agree on, but for the last of spot.

{table(HEAD, [row for case in cases for row in rows_of(case)])}"""
    print(text)
    if not options.only:
        record("Photographs: what the parts of neus2 are worth", text)


if __name__ == "__main__":
    main()
