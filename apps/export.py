"""surfrecon export: from a mesh to one for graphics tools: fewer faces, smoother, closed, in another format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps.options import positive, whole
from surfrecon.errors import InputError, SurfreconError

if TYPE_CHECKING:
    from surfrecon.geometry import Mesh

EXAMPLES = """
PROG mesh.ply light.glb --faces 20000
PROG mesh.ply light.obj --error 0.5
PROG mesh.open.ply part.stl --largest --holes close --smooth 10
"""
MOST_TURNS = 100  # a sphere's volume grows by .8 % in so many


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a mesh")
    parser.add_argument("output", type=Path, metavar="OUT", help="the mesh to write; its suffix says the format")
    fewer = parser.add_mutually_exclusive_group()
    fewer.add_argument("--faces", type=whole(4), metavar="N", help="keep about so many faces")
    fewer.add_argument("--error", type=positive, metavar="E", help="keep as few as stay within E of the surface, in the mesh's own unit")
    smooth = "turns of smoothing that keep the volume (default: 0)"
    parser.add_argument("--smooth", type=whole(0, MOST_TURNS), default=0, metavar="N", help=smooth)
    parser.add_argument("--largest", action="store_true", help="keep the piece with the most area alone")
    parser.add_argument("--holes", choices=("keep", "close"), default="keep", help="close holes by fans (default: keep)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")


def run(options: argparse.Namespace) -> None:
    from surfrecon import io
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.files import check_output, staged

    check_output(options.output, suffixes=io.MESH_WRITERS, taken=[options.output], overwrite=options.overwrite)
    if options.output.resolve() == options.input.resolve():
        raise InputError(f"{options.input} would be overwritten by the result; name another file")
    source = io.read_mesh(options.input)
    if not source.area() > 0:
        raise InputError(f"{options.input}: its {len(source.faces)} faces have no area, so there is no surface to export")
    mesh, facts = exported(source, options)
    with staged(options.output.parent) as folder:
        file = folder / options.output.name
        facts["notes"] += io.write_mesh(mesh, file)
        _check(mesh, file, options.output)
    report = {"input": str(options.input), "output": str(options.output), **facts}
    if options.json:
        print_json(report)
    else:
        print_lines(_lines(report))


def exported(source: Mesh, options: argparse.Namespace) -> tuple[Mesh, dict[str, Any]]:
    """The mesh that the options ask for, and what was done to it."""
    from surfrecon import decimation, holes
    from surfrecon.metrics import largest_component
    from surfrecon.repair import inspect
    from surfrecon.smoothing import smoothed

    notes, facts = [], {}
    mesh = holes.without_seams(source)
    if len(mesh.vertices) < len(source.vertices):
        notes.append(f"{len(source.vertices) - len(mesh.vertices):,} vertices that lay at the place of another were made one with it")
    if options.largest:
        pieces = inspect(mesh).components
        mesh = largest_component(mesh)
        facts["pieces_left_out"] = pieces - 1
    if options.holes == "close":
        mesh, facts["holes_closed"], facts["holes_left"] = holes.closed(mesh)
        if facts["holes_left"]:
            notes.append(f"{facts['holes_left']} borders meet themselves or branch, so they can't be closed")
    whole = smoothed(mesh, options.smooth)
    facts["smoothing_moved"] = decimation.deviation(whole, mesh) if options.smooth else 0.0
    fewer = whole
    if options.faces:
        fewer = decimation.decimated(whole, options.faces)
        if len(fewer.faces) > 2 * options.faces:
            notes.append(f"{options.faces:,} faces would tear or pinch the surface: {len(fewer.faces):,} are kept")
    elif options.error:
        fewer = decimation.decimated_within(whole, options.error)
    facts["decimation_moved"] = 0.0
    if fewer is not whole:
        facts["decimation_moved"] = decimation.deviation(fewer, whole)
        fewer = decimation.carried(fewer, whole)
    before, after = inspect(source), inspect(fewer)
    volumes = {"volume_before": before.volume, "volume": after.volume} if before.closed and after.closed else {}
    counts = {"faces_before": before.faces, "faces": after.faces, "vertices": after.vertices, "pieces": after.components}
    shape = {name: getattr(after, name) for name in ("closed", "manifold", "solid")}
    return fewer, counts | shape | volumes | facts | {"notes": notes}


def _check(mesh: Mesh, file: Path, shown: Path) -> None:
    """The file, read back: solid if the mesh is, else with the faces that the mesh has."""
    from surfrecon.apps.gate import check_mesh_file
    from surfrecon.io import read_mesh
    from surfrecon.repair import inspect

    if inspect(mesh).solid:
        check_mesh_file(file, shown)
    elif len(read_mesh(file).faces) != len(mesh.faces):
        raise SurfreconError(f"{shown} holds other faces when read back, so it was not kept; .ply and .glb keep coordinates best")


def _lines(report: dict[str, Any]) -> list[str]:
    state = "solid" if report["solid"] else f"{'closed' if report['closed'] else 'open'}, {'' if report['manifold'] else 'not '}manifold"
    rows = [f"{report['output']}: {report['faces']:,} faces of {report['faces_before']:,}, {state}, pieces {report['pieces']:,}"]
    if report["faces"] < report["faces_before"] and report["decimation_moved"]:
        rows.append(f"decimation moved the surface by at most {report['decimation_moved']:.4g}, in the mesh's unit, measured both ways")
    if report["smoothing_moved"]:
        rows.append(f"smoothing moved the surface by at most {report['smoothing_moved']:.4g}")
    if "holes_closed" in report:
        rows.append(f"holes closed: {report['holes_closed']:,}, left: {report['holes_left']:,}")
    if report.get("pieces_left_out"):
        rows.append(f"pieces left out: {report['pieces_left_out']:,}")
    return rows + report["notes"]
