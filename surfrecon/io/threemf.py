"""3MF, for printers: triangles with a unit, in a zip archive of XML.

Written: local coordinates that float32 holds, as most readers use it, and the object's place in the world as the transform of its build
item, with all digits. The coordinate reference system is metadata (a JSON string, which XML keeps as it is).

Read: the triangles of all build items, through their transforms; colours, textures and what extensions add are passed over. The archive's
sizes are held against plausible ones first, and XML with entities of its own is refused.
"""

from __future__ import annotations

import json
import logging
import xml.parsers.expat as expat
import zipfile
from array import array
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.io.arrays import FREE_INFLATION, MAX_INFLATION
from surfrecon.io.atomic import replacing
from surfrecon.io.attributes import left_out
from surfrecon.io.rounding import localized

log = logging.getLogger("surfrecon")

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
VERTEX, TRIANGLE = f"{CORE}}}vertex", f"{CORE}}}triangle"  # the names as expat gives them
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OWN = "urn:surfrecon"  # namespace of our metadata
MODEL = "3D/3dmodel.model"
UNITS = {"mm": "millimeter", "cm": "centimeter", "m": "meter", "ft": "foot"}  # ours -> the format's
CHUNK = 2**16  # rows formatted at a time
PART = 2**20  # bytes parsed at a time
MOST_COPIES = 100  # times as many triangles as are stored that components may make of them
TYPES = f"""<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="{PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>
"""
RELATIONS = f"""<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="{PACKAGE}/relationships">
<Relationship Id="model" Target="/{MODEL}" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>
</Relationships>
"""


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    """Store the triangles with the mesh's unit; the notes say what was left out, and which unit was taken where none is known."""
    origin, local = localized(mesh.vertices)
    notes = left_out(mesh, "3MF", "crs", "unit")
    unit = UNITS.get(mesh.unit or "mm", "foot")
    if mesh.unit is None:
        notes.append("3MF needs a unit and nothing names one: it says millimetres, --units says otherwise")
    elif mesh.unit not in UNITS:
        notes.append("3MF has no US survey foot: it says foot, which is 2 millionths shorter")
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="{unit}" xml:lang="en-US" xmlns="{CORE}" xmlns:s="{OWN}">\n'
    head += '<metadata name="Application">surfrecon</metadata>\n'
    if mesh.crs is not None:
        head += f'<metadata name="s:crs" type="xs:string" preserve="1">{escape(json.dumps(mesh.crs))}</metadata>\n'
    head += '<resources>\n<object id="1" type="model"><mesh>\n<vertices>\n'
    place = " ".join(map(repr, [1, 0, 0, 0, 1, 0, 0, 0, 1, *origin.tolist()]))
    tail = f'</triangles>\n</mesh></object>\n</resources>\n<build><item objectid="1" transform="{place}"/></build>\n</model>\n'
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, text in (("[Content_Types].xml", TYPES), ("_rels/.rels", RELATIONS)):
            archive.writestr(_member(name), text)
        with archive.open(_member(MODEL), "w", force_zip64=True) as part:
            part.write(head.encode())
            _write_rows(part, '<vertex x="%.9g" y="%.9g" z="%.9g"/>\n', local)
            part.write(b"</vertices>\n<triangles>\n")
            _write_rows(part, '<triangle v1="%d" v2="%d" v3="%d"/>\n', mesh.faces)
            part.write(tail.encode())
    return notes


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # its fixed date, not today's: the same mesh gives the same bytes
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _write_rows(file, form: str, rows: np.ndarray) -> None:
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        file.write((form * len(part) % tuple(part.ravel().tolist())).encode())


def read_mesh(path: Path) -> Mesh:
    """The triangles of all build items where these place them."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        models = [info for info in archive.infolist() if info.filename.lower().endswith(".model")]
        total = sum(info.file_size for info in models)
        if total > max(FREE_INFLATION, MAX_INFLATION * size):
            raise InputError(f"it would inflate from {size} to {total} bytes, which is no plausible mesh")
        if not models:
            raise InputError("its archive holds no .model part, so it is no 3MF file")
        model = next((info for info in models if info.filename.lower().lstrip("/") == MODEL.lower()), models[0])
        document = _Document()
        with archive.open(model) as part:
            document.parse(part)
    if not document.placed:
        raise InputError("it builds nothing, so it is no mesh")
    start = np.cumsum([0, *(len(points) for points, _ in document.placed)])
    faces = np.concatenate([faces + at for (_, faces), at in zip(document.placed, start)])
    unit = next((ours for ours, name in UNITS.items() if name == document.unit), None)
    if unit is None:
        log.info("%s: its unit is %s, its numbers are taken as they are", path.name, document.unit)
    return Mesh(np.concatenate([points for points, _ in document.placed]), faces, crs=document.crs, unit=unit)


class _Document:
    """What the model part says, gathered while it is parsed.

    Attributes:
        placed: points (V, 3) and faces (F, 3) of each build item, world frame.
    """

    def __init__(self) -> None:
        self.unit, self.crs = "millimeter", None
        self.placed: list[tuple[np.ndarray, np.ndarray]] = []
        self._objects: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._object, self._points, self._corners = "", array("d"), array("q")
        self._stored = self._made = 0
        self._text: list[str] = []

    def parse(self, file) -> None:
        parser = self._parser = expat.ParserCreate(namespace_separator="}")
        parser.StartElementHandler, parser.StartDoctypeDeclHandler = self._start, self._refuse
        try:
            while data := file.read(PART):
                parser.Parse(data)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise InputError(f"its model part is damaged ({error})") from None

    def _refuse(self, *_) -> None:
        raise InputError("its model part declares a document type, which 3MF has none of: it is damaged")

    def _start(self, name: str, values: dict[str, str]) -> None:
        if name == TRIANGLE:
            self._corners.extend((int(values["v1"]), int(values["v2"]), int(values["v3"])))
            return
        if name == VERTEX:
            self._points.extend((float(values["x"]), float(values["y"]), float(values["z"])))
            return
        space, _, name = name.rpartition("}")
        if space != CORE:
            return
        if name == "model":
            self.unit = values.get("unit", self.unit)[:40]
        elif name == "object":
            self._end_of_object()
            self._object, self._points, self._corners = values["id"], array("d"), array("q")
            self._objects[self._object] = []
        elif name == "component":
            self._objects[self._object] += self._placed(values)
        elif name == "build":
            self._end_of_object()
        elif name == "item":
            self.placed += self._placed(values)
        elif name == "metadata" and values.get("name", "").endswith(":crs"):
            # Heard of in here only: being called for the end of each vertex and the line behind it would take twice the time.
            self._parser.CharacterDataHandler, self._parser.EndElementHandler = self._text.append, self._end_of_text

    def _end_of_text(self, _: str) -> None:
        self._parser.CharacterDataHandler = self._parser.EndElementHandler = None
        try:
            self.crs = str(json.loads("".join(self._text)))
        except ValueError:
            self.crs = "".join(self._text)

    def _end_of_object(self) -> None:
        if len(self._corners):
            points, faces = (np.array(values).reshape(-1, 3) for values in (self._points, self._corners))
            if faces.min() < 0 or faces.max() >= len(points) or not np.isfinite(points).all():
                raise InputError(f"its object {self._object[:20]} names vertices that aren't there or places that are no numbers")
            self._objects[self._object].append((points, faces))
            self._stored += len(faces)
            self._points, self._corners = array("d"), array("q")

    def _placed(self, values: dict[str, str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The parts of an object where a component or a build item puts them."""
        parts = self._objects.get(values["objectid"])
        if parts is None or any(name.endswith("path") for name in values):
            raise InputError("it names an object that isn't there before, or lies in another part of the archive: export it as one object")
        self._made += sum(len(faces) for _, faces in parts)
        if self._made > MOST_COPIES * self._stored:
            raise InputError(f"its components make {self._made} triangles of the {self._stored} that it stores: it is no plausible mesh")
        if "transform" not in values:
            return list(parts)
        numbers = np.array([float(word) for word in values["transform"].split()])
        if len(numbers) != 12 or not np.isfinite(numbers).all():
            raise InputError(f"a transform holds {values['transform'][:60]!r}: expected 12 numbers")
        matrix = numbers.reshape(4, 3)  # points are rows
        mirrored = np.linalg.det(matrix[:3]) < 0
        return [(points @ matrix[:3] + matrix[3], faces[:, ::-1] if mirrored else faces) for points, faces in parts]
