"""report.html of a run: whole, without a way out, faithful to the mesh, and never in the mesh's way."""

import base64
import hashlib
import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import write_xyz

from surfrecon.apps import page, page_mesh, web
from surfrecon.apps.cli import main
from surfrecon.apps.page_charts import color_bar, histogram, ticks
from surfrecon.apps.page_tables import rows_of, table
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.io import read_mesh

HOSTILE = "<img src=x onerror=alert(1)>"
PARTS = (
    *("From six sides: the solid, shaded", "Confidence", "How far the points are from the mesh", "Input", "Topology", "Time", "Files"),
    *("Settings, as resolved", "Found on the way", "Machine", "Repeat and resume"),
)
NAMESPACE = "http://www.w3.org/1999/xhtml"  # a name that three.js hands to the browser, not a place


class Elements(HTMLParser):
    """Elements of a page with their attributes, and the text within each kind of them."""

    def __init__(self, text: str):
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]][-1] += data


@pytest.fixture(scope="module")
def text(result) -> str:
    return (result.parent / "mesh.run" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def elements(text) -> Elements:
    return Elements(text)


def test_the_page_names_no_address(text):
    beyond_the_licence = re.sub(r"/\*\nMade by.*?\*/", "", text, count=1, flags=re.DOTALL)
    assert set(re.findall(r"\w+://[^\s\"'`<>)]*", beyond_the_licence)) == {NAMESPACE}
    assert not re.search(r"@import|url\((?!#)", web.text("page.css"))


def test_elements_take_nothing_from_outside_and_hold_no_handlers(elements):
    for tag, attributes in elements.all:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            assert name not in ("src", "href", "srcset", "action", "data") or value.startswith("data:"), (tag, name, value[:80])


def test_policy_allows_this_script_and_this_style_alone(elements):
    policy = next(item["content"] for tag, item in elements.all if item.get("http-equiv") == "Content-Security-Policy")
    digest = lambda content: f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    data, script = elements.texts["script"]
    assert dict(rule.split(" ", 1) for rule in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": digest(elements.texts["style"][0]),
        "script-src": digest(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert json.loads(data) and script == web.text("view.min.js")


def test_every_part_is_there(elements, text, sphere):
    assert tuple(part for part in elements.texts["h2"] if part != "Warnings") == PARTS
    assert elements.texts["h1"] == ["mesh.ply"]
    assert [caption for caption in elements.texts["figcaption"]] == 2 * ["front", "right", "back", "left", "top", "bottom"]
    assert sum(tag == "img" for tag, _ in elements.all) == 12
    axes = ("distance from point to mesh, units", "share of the points, %")
    for said in ("A closed, manifold solid", "2,000 points", str(sphere.file), *axes):
        assert said in text
    assert {"orient", "extract", "check", "together"} <= set(elements.texts["th"]) and "page" not in elements.texts["th"]


def test_what_the_reader_guessed_is_told(elements):
    said = "sphere.xyz: nothing names the columns, so by their values: columns 1 to 3 are the position"
    assert said in elements.texts["td"] and not any("so far" in text for text in elements.texts["td"])


def test_the_page_is_listed_and_timed_in_the_report(result):
    report = json.loads((result.parent / "mesh.run" / "report.json").read_text())
    assert report["files"][-2:] == [str(result.parent / "mesh.run" / name) for name in ("report.html", "report.json")]
    assert report["timings"]["page"] > 0


def test_mesh_in_the_page_is_the_one_in_the_file(elements, result):
    mesh, data = read_mesh(result), json.loads(elements.texts["script"][0])
    decoded = lambda key, kind: np.frombuffer(base64.b64decode(data[key]), kind)
    low, high = mesh.bounds()
    places = low + decoded("positions", "<u2").reshape(-1, 3) / 65535 * (high - low)
    assert np.abs(places - mesh.vertices).max() <= (high - low).max() / 65535
    assert (decoded("faces", "<u2").reshape(-1, 3) == mesh.faces).all() and not data["wide"]
    assert np.abs(decoded("confidence", "u1") / 255 - mesh.scalars["confidence"]).max() <= 0.5 / 255 + 1e-6
    assert data["colors"] is None and data["extent"] == pytest.approx(high - low)


def test_command_in_the_page_repeats_the_run_to_the_byte(elements, result):
    before = result.read_bytes()
    again, resumed = (shlex.split(line) for line in elements.texts["pre"])
    settings = result.with_suffix(".run") / "settings.toml"
    assert again[:2] == ["surfrecon", "scan"] and again[-3:] == ["--settings", str(settings), "--overwrite"]
    assert resumed[-1] == "--resume" and "--overwrite" not in resumed
    assert main(again[1:]) == 0
    assert result.read_bytes() == before


def test_command_line_survives_a_shell_and_drops_what_only_says_whether():
    argv = ["surfrecon scan", "a b'$(x).ply", "--overwrite", "-o", HOSTILE, "--resume"]
    assert shlex.split(page.command_line(argv, "--resume")) == ["surfrecon", "scan", "a b'$(x).ply", "-o", HOSTILE, "--resume"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, sphere, quick):
    """The page of a run whose files are named as badly as a file can be."""
    folder = tmp_path_factory.mktemp("hostile")
    scan = write_xyz(folder / f"{HOSTILE}.xyz", sphere.points)
    assert main(["scan", str(scan), "-o", str(folder / f"</title>{HOSTILE[:-1]}&quot;'\".ply".replace("/", "")), *quick]) == 0
    return next(folder.glob("*.run")) / "report.html"


def test_names_of_files_are_text_wherever_they_stand(hostile):
    elements = Elements(hostile.read_text(encoding="utf-8"))
    assert [item["src"][:5] for tag, item in elements.all if tag == "img"] == 12 * ["data:"]
    assert not [name for _, item in elements.all for name in item if name.startswith("on")]
    assert elements.texts["h1"] == ["<title><img src=x onerror=alert(1)&quot;'\".ply"] and len(elements.texts["script"]) == 2
    assert any(HOSTILE in text for text in elements.texts["td"]) and all("onerror" in text for text in elements.texts["pre"])


@pytest.mark.parametrize("value", [HOSTILE, 50 * HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}], ids=["text", "long", "list", "keys"])
def test_facts_are_text_wherever_they_stand(value):
    drawn = table(rows_of({"crs": value}))
    assert "<img" not in drawn and HOSTILE in unescape(drawn)


def test_warnings_are_text():
    assert page.warnings([HOSTILE]).count("&lt;img") == 1 and page.warnings([]) == ""


def test_charts_escape_their_labels():
    for chart in (histogram(np.ones(3), HOSTILE, HOSTILE), color_bar(HOSTILE)):
        assert "<img" not in chart and chart.count("&lt;img") >= 2


def test_facts_read_as_a_person_writes_them():
    facts = {"bounds": [[0.5, 5812345.678, 0.0], [1, 2, 3]], "normals": False, "crs": None, "spacing": 0.123456789, "points": 1234567}
    assert dict(rows_of(facts | {"scalars": [], "peak_memory_bytes": 2e9, "more": {"seed": 0}})) == {
        "from": "0.5  5812345.678  0",
        "to": "1  2  3",
        "normals": "no",
        "reference system": "–",
        "spacing": "0.12346",
        "points": "1,234,567",
        "scalars": "none",
        "memory, at most": "2 GB",
        "more: seed": "0",
    }


def test_histogram_counts_every_value_below_its_end_and_marks_the_median():
    values = np.linspace(0, 1, 4001)
    chart = histogram(values, "distance", "m")
    base, tops = 250 - 44, [float(top) for top in re.findall(r"M[\d.]+ [\d.]+V([\d.]+)h", chart)]
    heights = base - np.array(tops)
    assert len(tops) == 40 and heights.std() < 0.02 * heights.mean()  # an even spread
    median = float(re.search(r'class="mark" x1="([\d.]+)"', chart)[1])
    assert median == pytest.approx(48 + (460 - 48 - 12) * 0.5 / 0.975, abs=0.1)


@pytest.mark.parametrize(("top", "unit"), [(3e-5, "10⁻⁶ m"), (0.5, "m"), (3e7, "10⁶ m"), (0.0, "m")])
def test_axis_of_tiny_and_huge_distances_takes_a_power_of_ten(top, unit):
    assert f">distance, {unit}</text>" in histogram(np.linspace(0, top, 100), "distance", "m")


@pytest.mark.parametrize(
    ("top", "expected"), [(1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.07, [0, 0.02, 0.04, 0.06]), (30, [0, 5, 10, 15, 20, 25, 30])]
)
def test_ticks_are_round_and_end_at_the_top(top, expected):
    assert ticks(top) == pytest.approx(expected)


@pytest.mark.parametrize("clustered", [page_mesh.CLUSTERED, 20_000], ids=["collapsed", "clustered first"])
def test_light_copy_keeps_place_volume_colours_and_confidence(clustered, monkeypatch):
    monkeypatch.setattr(page_mesh, "CLUSTERED", clustered)
    monkeypatch.setattr(page_mesh, "MOST_FACES", 4000)
    mesh = mesh_of(named("torus"), 96).transformed(Similarity(translation=np.array([8e5, 5.8e6, 300.0])))
    low, high = mesh.bounds()
    ramp = ((mesh.vertices - low) / (high - low)).astype(np.float32)
    mesh = Mesh(mesh.vertices, mesh.faces, colors=ramp, scalars={"confidence": ramp[:, 0], "other": ramp[:, 1]})
    assert len(mesh.faces) > 30_000
    light = page_mesh.light(mesh, page_mesh.tree_of(mesh))
    assert 1000 < len(light.faces) <= 4000 and list(light.scalars) == ["confidence"]
    assert light.volume() == pytest.approx(mesh.volume(), rel=0.02)
    expected = (light.vertices - low) / (high - low)
    assert np.abs(light.colors - expected).max() < 0.05 and np.abs(light.scalars["confidence"] - expected[:, 0]).max() < 0.05


def test_of_many_points_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(page_mesh, "MOST_POINTS", 100)
    points = np.random.default_rng(0).normal(size=(5000, 3))
    some = page_mesh.some_points(PointCloud(points), 0)
    assert len(np.unique(some, axis=0)) == 100 and set(map(tuple, some)) <= set(map(tuple, points))
    assert page_mesh.some_points(PointCloud(points[:80]), 0) is not None and len(page_mesh.some_points(PointCloud(points[:80]), 0)) == 80


def test_scanned_part_lacks_what_nobody_saw():
    mesh = mesh_of(named("torus"), 48)
    seen = (mesh.vertices[:, 2] > 0).astype(np.float32)
    part = page_mesh.scanned_part(Mesh(mesh.vertices, mesh.faces, scalars={"confidence": seen}))
    assert 0 < part.area() < 0.6 * mesh.area() and part.scalars["confidence"].mean() > 0.9
    unseen = Mesh(mesh.vertices, mesh.faces, scalars={"confidence": np.zeros(len(mesh.vertices))})
    assert page_mesh.scanned_part(unseen) is unseen


def test_page_of_an_open_scan_begins_with_its_sheet(sphere, quick, folder, surfrecon):
    assert surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--open").code == 0
    elements = Elements((folder / "mesh.run" / "report.html").read_text(encoding="utf-8"))
    assert "checked" in next(item for _, item in elements.all if item.get("name") == "seen")
    assert "From six sides: the trimmed sheet, shaded" in elements.texts["h2"]


def test_a_page_that_fails_is_a_warning_and_the_mesh_is_kept(sphere, quick, folder, surfrecon, monkeypatch):
    (folder / "mesh.run").mkdir()
    (folder / "mesh.run" / "report.html").write_text("of an earlier run")

    def fail(mesh):
        raise MemoryError("no room for pictures")

    monkeypatch.setattr(page_mesh, "pictures", fail)
    ended = surfrecon("scan", sphere.file, "-o", folder / "mesh.ply", *quick, "--overwrite", "--json")
    assert ended.code == 0 and read_mesh(folder / "mesh.ply").volume() > 0
    assert ended.json["warnings"][-1] == "no report.html could be made: MemoryError: no room for pictures"
    assert "warning: no report.html could be made" in ended.err and ended.json["files"][-1].endswith("report.json")
    assert not (folder / "mesh.run" / "report.html").exists() and not any("report.html" in file for file in ended.json["files"])
    assert json.loads((folder / "mesh.run" / "report.json").read_text()) == ended.json


def test_bundle_was_made_of_the_view_that_is_there_and_carries_its_licence():
    bundle = web.text("view.min.js")
    assert f"SHA-256 {hashlib.sha256(web.text('view.js').encode()).hexdigest()}," in bundle, "npm run build, in apps/web"
    assert "The MIT License" in bundle and "three.js authors" in bundle
    assert "</script" not in bundle.lower() and "<!--" not in bundle and "\r" not in bundle
