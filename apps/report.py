"""What a run reports: report.json, and its short form for a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surfrecon.reconstruction import Reconstruction
    from surfrecon.run import Run

CONFIDENT = 0.5  # vertices above it count as seen


def assemble(result: Reconstruction, run: Run, files: list[Path]) -> dict[str, Any]:
    """Everything that is known after the work; apps/scan.py puts before it what was known already.

    Args:
        result: of reconstruct().
        run: its timings, warnings and facts.
        files: what has been written, the mesh first.
    """
    import numpy as np

    from surfrecon import headroom
    from surfrecon.apps.versions import versions

    confidence = result.mesh.scalars.get("confidence")
    return {
        "files": [str(file) for file in files],
        "interrupted": run.stopped,
        "result": result.summary(),
        "topology": result.report.as_dict(),
        "unit_from_world": result.unit_from_world.matrix(),
        "confidence": None
        if confidence is None
        else {
            "median": float(np.median(confidence)),
            "lowest": float(np.min(confidence)),
            "share_above_half": float((confidence > CONFIDENT).mean()),
        },
        "device": str(run.torch_device()),
        "backend": run.backend,
        "threads": run.threads,
        "timings": run.timings,
        "seconds": sum(run.timings.values()),
        "peak_memory_bytes": headroom.peak(),
        "facts": run.facts,
        "warnings": run.warnings,
        "versions": versions(),
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """A few lines for the terminal."""
    from surfrecon.apps.console import size_text, time_text

    shape = report["topology"]
    pieces = "1 piece" if shape["components"] == 1 else f"{shape['components']:,} pieces"
    mesh, *others = report["files"]
    lines = [f"{mesh}: {shape['vertices']:,} vertices, {shape['faces']:,} faces, closed {'yes' if shape['solid'] else 'NO'}, {pieces}"]
    lines += [f"{file}" for file in others]
    cost = time_text(report["seconds"])
    if report["peak_memory_bytes"]:
        cost += f", at most {size_text(report['peak_memory_bytes'])} of memory"
    lines.append(cost)
    if report["confidence"]:
        share = report["confidence"]["share_above_half"]
        lines.append(f"{share:.0%} of the vertices are well supported by the scan (confidence > {CONFIDENT})")
    if "thinned_to" in report["facts"]:
        count = f"{report['input']['points']:,} " if report["input"]["kind"] == "scan" else ""
        lines.append(f"{count}points were fitted as the means of {report['facts']['thinned_to']:,} cells")
    if "registered" in report["facts"]:
        facts = report["facts"]
        lines.append(f"structure from motion found the cameras of {facts['registered']} of {facts['photographs']} photographs")
    if "poses" in report["facts"]:
        lines.append(report["facts"]["poses"]["says"])
    held_out = report.get("views", {}).get("held_out")
    if held_out:
        lines.append(f"{held_out['views']} photographs that were held out are foreseen with {held_out['psnr']:.1f} dB on average")
    lines += report.get("views", {}).get("bad_views", [])
    if report["result"]["sharp"]:
        lines.append(f"{report['facts']['vertices_on_creases']:,} vertices on sharp edges")
    if report["warnings"]:
        lines.append(f"warnings: {len(report['warnings'])}, see {report['files'][-1]}")
    return lines


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """What --dry-run says."""
    import tomli_w

    from surfrecon.apps.console import size_text, time_text

    cost = plan["estimate"]
    present = {key: value for key, value in plan["settings"].items() if value is not None}
    lines = [
        f"{_input_text(plan['input'])}: everything fits, nothing was written",
        f"about {time_text(cost['seconds'])}, {size_text(cost['bytes'])} of memory, resolution {cost['resolution']}",
        "",
        tomli_w.dumps(present).rstrip(),
    ]
    return lines


def _input_text(facts: dict[str, Any]) -> str:
    if facts["kind"] == "scan":
        return f"{facts['points']:,} points, spacing {facts['spacing']:.4g}"
    width, height = facts["largest"]
    return f"{facts['views']} photographs of up to {width} x {height} pixels, {'with' if facts['masks'] else 'without'} masks"
