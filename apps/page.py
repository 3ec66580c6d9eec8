"""report.html: what a run came to, as one page that loads nothing and lets its mesh be turned.

Texts that come from a run are escaped where they enter the page, here or in page_tables.py. Beyond that, the page's policy runs only
the script that is written here, by its digest, and forbids every connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps import web
from surfrecon.apps.console import size_text, time_text, to_json
from surfrecon.apps.page_tables import number, rows_of, section, table, unit_of

if TYPE_CHECKING:
    import numpy as np

    from surfrecon.geometry import Mesh
    from surfrecon.reconstruction import Reconstruction

PHOTOGRAPHS_SIDE = 1400  # pixels at most
WITHOUT_CHANGING = ("--overwrite", "--resume")  # options that say whether to go on or start again, not what is computed
POLICY = "default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"


def write_page(file: Path, report: dict[str, Any], result: Reconstruction, inputs: Sequence[Path], beside: Path) -> None:
    """Write the page of a run.

    Args:
        report: as report.json will hold it, and `remarks` of the readers, on what they guessed.
        inputs: files and folders that were read.
        beside: the folder that may hold photographs.png.
    """
    from surfrecon.apps import page_mesh
    from surfrecon.geometry import PointCloud

    report = json.loads(to_json(report))  # plain values, whatever they were
    tree = page_mesh.tree_of(result.mesh)
    light = page_mesh.light(result.mesh, tree)
    if not isinstance(result.scan, PointCloud):
        light = page_mesh.upright(light, result.scan)
    shown = page_mesh.scanned_part(light) if result.sheet is not None else light
    parts = [head(report), view(light, result), tiles(report), warnings(report["warnings"])]
    parts += [sides(page_mesh.pictures(shown), result), photographs(beside / "photographs.png")]
    if isinstance(result.scan, PointCloud):
        distances = page_mesh.residuals(result.scan, result.mesh, tree, report["settings"]["seed"])
        parts.append(residuals(distances, len(result.scan), report["input"]))
    parts += [facts(report, inputs), again(report)]
    text = document(Path(report["files"][0]).name, "\n".join(parts), json.dumps(page_mesh.view_data(light)))
    file.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files need not be Unicode


def document(title: str, body: str, mesh: str) -> str:
    """The whole page.

    Args:
        title: a text.
        body: HTML.
        mesh: JSON for view.js; of numbers and base64, so that nothing in it ends the script.
    """
    style, script = web.text("page.css"), web.text("view.min.js")
    policy = POLICY.format(style=_digest(style), script=_digest(script))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}: report of surfrecon</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="mesh">{mesh}</script>
<script>{script}</script>
</body>
</html>
"""


def head(report: dict[str, Any]) -> str:
    """The name of the mesh and one sentence on it."""
    shape, given = report["topology"], report["input"]
    pieces = "one piece" if shape["components"] == 1 else f"{shape['components']:,} pieces"
    state = "A closed, manifold solid" if shape["solid"] else "NOT a closed, manifold solid"
    source = f"{given['points']:,} points" if given["kind"] == "scan" else f"{given['views']:,} photographs"
    text = f"{state} of {pieces}, from {source} in {time_text(report['seconds'])}, by {report['result']['method']}."
    if report["interrupted"]:
        text += " The run was interrupted: this is the best so far."
    if report["result"]["open"]:
        text += " The scan is of an open surface: its trimmed sheet lies beside the solid."
    return f'<h1>{escape(Path(report["files"][0]).name)}</h1><p class="lede">{escape(text)}</p>'


def view(light: Mesh, result: Reconstruction) -> str:
    """The canvas and its controls, which view.js finds by their names."""
    paints = {"colors": "Shape" if light.colors is None else "Colours", "confidence": "Confidence", "normals": "Normals"}
    if "confidence" not in light.scalars:
        paints.pop("confidence")
    choices = "".join(f'<label><input type="radio" name="paint" value="{name}">{label}</label>' for name, label in paints.items())
    seen = '<label><input type="checkbox" name="seen"> only what was scanned</label>' if "confidence" in paints else ""
    if result.sheet is not None:
        seen = seen.replace('name="seen"', 'name="seen" checked')
    count, whole = len(light.faces), len(result.mesh.faces)
    size = f"{count:,} faces" if count == whole else f"{count:,} faces, thinned from {whole:,}"
    return f"""<section id="view" aria-label="the mesh, to be turned">
<div class="stage"><canvas id="canvas"></canvas></div>
<form id="controls"><fieldset>{choices.replace('value="colors"', 'value="colors" checked')}</fieldset>{seen}
<label><input type="checkbox" name="wires"> wireframe</label><button type="button" name="home">Reset view</button>
<p class="quiet">{size}. Drag to turn, wheel or pinch to zoom, right button or two fingers to move.</p></form>
<p class="instead">There is no 3D view here: WebGL 2 is missing or turned off. The pictures below remain.</p>
<noscript><p class="note">There is no 3D view without JavaScript. The pictures below remain.</p></noscript>
</section>"""


def tiles(report: dict[str, Any]) -> str:
    """What one looks for first."""
    shape, unit = report["topology"], unit_of(report["input"])
    shown = {
        "solid": "yes" if shape["solid"] else "NO",
        "vertices": number(shape["vertices"]),
        "faces": number(shape["faces"]),
        "pieces": number(shape["components"]),
        "handles (genus)": "not known" if shape["genus"] is None else number(shape["genus"]),
        f"volume, {unit}³": number(shape["volume"]),
        f"area, {unit}²": number(shape["area"]),
    }
    if report["confidence"]:
        shown["well supported"] = f"{report['confidence']['share_above_half']:.0%}"
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown.items())
    return f'<section><dl class="tiles">{items}</dl></section>'


def warnings(sentences: Sequence[str]) -> str:
    """What a user should know, if anything."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return section("Warnings", f"<ul>{items}</ul>", "warnings") if items else ""


def sides(pictures: Sequence[tuple[str, list[str]]], result: Reconstruction) -> str:
    """Pictures from six sides: as the mesh looks, and by confidence."""
    from surfrecon.apps.page_charts import color_bar
    from surfrecon.apps.page_mesh import SIZE

    what = "the solid" if result.sheet is None else "the trimmed sheet"
    how = "shaded" if result.mesh.colors is None else "in its colours"
    bar_says = "0: a guess, far from all data; 1: on points"
    content = [(f"From six sides: {what}, {how}", ""), ("Confidence", color_bar(bar_says))]
    drawn = []
    for row in range(len(pictures[0][1])):
        title, bar = content[row]
        size = f'width="{SIZE[0]}" height="{SIZE[1]}"'
        figures = (
            f'<figure><img src="{urls[row]}" {size} alt="{side}"><figcaption>{side}</figcaption></figure>' for side, urls in pictures
        )
        drawn.append(section(title, f'<div class="pictures">{"".join(figures)}</div>{bar}'))
    return "".join(drawn)


def photographs(file: Path) -> str:
    """Renderings beside photographs, where there are some."""
    if not file.exists():
        return ""
    import numpy as np
    from PIL import Image

    from surfrecon.apps.page_mesh import picture_url

    image = Image.open(file).convert("RGB")
    image.thumbnail((PHOTOGRAPHS_SIDE, PHOTOGRAPHS_SIDE))
    picture = f'<img class="photographs" src="{picture_url(np.asarray(image))}" alt="photographs and renderings">'
    return section("Photographs, and what was made of them", picture)


def residuals(distances: np.ndarray, count: int, given: dict[str, Any]) -> str:
    """How far the scan's points are from the mesh.

    Args:
        distances: (N,) of all points or some of them.
        count: of points in the scan.
        given: facts of the input.
    """
    import numpy as np

    from surfrecon.apps.page_charts import SHOWN, histogram

    unit, spacing = unit_of(given), given["spacing"]
    figures = {"median": np.median(distances), "mean": distances.mean(), "95 % below": np.quantile(distances, 0.95)}
    figures["largest"] = distances.max()
    rows = [(name, f"{number(float(value))} {unit}, {value / spacing:.3g} spacings") for name, value in figures.items()]
    which = "All points" if len(distances) == count else f"{len(distances):,} of {count:,} points, picked at random"
    said = (
        f"{which}; the {1 - SHOWN:.1%} that are furthest away lie beyond the drawing. "
        f"A spacing, {number(spacing)} {unit}, is how far neighbouring points are apart."
    )
    chart = histogram(distances, "distance from point to mesh", unit)
    content = f'<div class="columns"><div>{chart}</div><div>{table(rows)}<p class="quiet">{escape(said)}</p></div></div>'
    return section("How far the points are from the mesh", content)


def facts(report: dict[str, Any], inputs: Sequence[Path]) -> str:
    """Tables of all that is known, in two columns."""
    found = {**report["facts"], "confidence": report["confidence"] or {}, "views": report.get("views", {})}
    settings = {"resolution of the mesh": report["result"]["resolution"], **report["settings"]}
    machine = {key: report[key] for key in ("device", "backend", "threads", "peak_memory_bytes")} | report["versions"]
    files = [(str(place), name) for place, name in enumerate(report["files"], 1)]
    remarks = [("remark", sentence) for sentence in report["remarks"]]
    left = section("Input", table([*_inputs(inputs), *remarks, *rows_of(report["input"])]))
    left += section("Topology", table(rows_of(report["topology"]))) + section("Time", _timings(report)) + section("Files", table(files))
    right = section("Settings, as resolved", table(rows_of(settings))) + section("Found on the way", table(rows_of(found)))
    right += section("Machine", table(rows_of(machine)))
    return f'<div class="columns"><div>{left}</div><div>{right}</div></div>'


def again(report: dict[str, Any]) -> str:
    """How to repeat the run, and how to go on with it."""
    argv, settings = report["command"], next(file for file in report["files"] if file.endswith("settings.toml"))
    when = "This run was interrupted; from" if report["interrupted"] else "Should a run be interrupted, its checkpoints stay; from"
    content = f"""<p>With exactly these settings, whatever the presets come to be:</p>
<pre>{escape(command_line(argv, "--settings", settings, "--overwrite"))}</pre>
<p>{when} the last checkpoint it goes on by</p>
<pre>{escape(command_line(argv, "--resume"))}</pre>
<p class="quiet">Paths are seen from the folder in which the command ran.</p>"""
    return section("Repeat and resume", content)


def command_line(argv: Sequence[str], *more: str) -> str:
    """A command as a POSIX shell takes it, with other options at its end."""
    program, *words = argv
    return f"{program} {shlex.join([*(word for word in words if word not in WITHOUT_CHANGING), *more])}"


def _timings(report: dict[str, Any]) -> str:
    from surfrecon.apps.page_charts import share_bar

    line = '<tr><th scope="row">{}</th><td>{}</td><td class="number">{:.2f} s</td></tr>'
    longest = max([*report["timings"].values(), 1e-9])
    rows = [line.format(escape(stage), share_bar(seconds / longest), seconds) for stage, seconds in report["timings"].items()]
    return f"<table>{''.join(rows)}{line.format('together', '', report['seconds'])}</table>"


def _inputs(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        size = f" ({size_text(file.stat().st_size)})" if file.is_file() else ""
        yield ("folder" if file.is_dir() else "file"), f"{file}{size}"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
