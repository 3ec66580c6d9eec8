"""A window with scans and meshes in it, by Open3D's GLFW visualizer: the only place of the commands that asks for Open3D.

`python -m surfrecon.apps.viewer` is the window of a running reconstruction: surfaces come on its standard input (see apps/preview.py), so
that it answers to the mouse while another process computes, and takes nothing down with it.

One process opens one window: in a second one Open3D draws nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

    from surfrecon.geometry import Mesh, PointCloud

NO_WINDOW = "on a machine without a display: apt-get install xvfb libgl1 libgl1-mesa-dri, then xvfb-run surfrecon view ..."
PALETTE = ((0.16, 0.36, 0.60), (0.80, 0.45, 0.15), (0.25, 0.55, 0.30), (0.55, 0.30, 0.60))  # of scans without colours
GREY = (0.72, 0.72, 0.72)
EYE = (0.5, -0.8, 0.35)  # where it is seen from, z up
ZOOM = 0.55
FRAME = 1 / 60  # seconds
STEP = 0.02  # of the box: how far a key moves the section
ERROR_QUANTILE = 0.99  # of the distances, which the last colour stands for: a few far ones shall not take all colours
KEYS = {
    "1": "points on and off",
    "2": "meshes on and off",
    "W": "wireframe on and off",
    "C": "own colours",
    "G": "grey, and a colour for each scan",
    "N": "normals as colours, and as needles on points",
    "F": "confidence, dark blue (0) to yellow (1)",
    "E": "distance to --truth, dark blue (near) to yellow (far)",
    "X": "section across x on and off; Y, Z likewise",
    "Y": "",
    "Z": "",
    ",": "move the section down the axis",
    ".": "move it up",
    "V": "the other side of the section",
    "P": "picture of the window into a PNG file",
    "H": "these keys",
}
OWN_KEYS = {"R": "the first view again", "Q": "quit; the mouse turns, its wheel zooms"}  # Open3D's
HELP = "\n".join(f"  {key}  {meaning}" for key, meaning in (KEYS | OWN_KEYS).items() if meaning)


@dataclass
class State:
    """What is shown and how. section is 0, 1, 2 for a plane across x, y, z; level is its place in the box, from 0 to 1."""

    points: bool = True
    meshes: bool = True
    wireframe: bool = False
    paint: str = "colors"
    section: int | None = None
    level: float = 0.5
    other_side: bool = False

    def press(self, key: str) -> None:
        """What a key of KEYS changes; P and H change nothing."""
        if key in "12":
            name = {"1": "points", "2": "meshes"}[key]
            setattr(self, name, not getattr(self, name))
        elif key == "W":
            self.wireframe = not self.wireframe
        elif key in "CGNFE":
            self.paint = {"C": "colors", "G": "grey", "N": "normals", "F": "confidence", "E": "error"}[key]
        elif key in "XYZ":
            axis = "XYZ".index(key)
            self.section = None if self.section == axis else axis
        elif key in ",.":
            self.level = min(1.0, max(0.0, self.level + (STEP if key == "." else -STEP)))
        elif key == "V":
            self.other_side = not self.other_side


@dataclass
class Window:
    """Scans and meshes in a window.

    Attributes:
        items: in world coordinates.
        state: changed by keys.
        errors: distance to the truth at each vertex or point of each item, where there is a truth.
        say: called with a sentence for the person at the terminal.
    """

    items: Sequence[Mesh | PointCloud]
    state: State = field(default_factory=State)
    errors: Sequence[np.ndarray] | None = None
    size: tuple[int, int] = (1280, 960)
    title: str = "surfrecon"
    say: Callable[[str], None] = lambda text: None

    def __enter__(self) -> Window:
        import numpy as np

        from surfrecon.io.exchange import loaded_open3d

        open3d = loaded_open3d()
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self.visualizer = open3d.visualization.VisualizerWithKeyCallback()
        if not self.visualizer.create_window(self.title, *self.size):
            raise MissingDependencyError(f"no window can be opened, for want of a display or of OpenGL; {NO_WINDOW}")
        self.shown, self.pictures = [], 0
        boxes = np.stack([item.bounds() for item in self.items]) if self.items else np.array([[[-1.0] * 3, [1.0] * 3]])
        self.low, self.high = boxes[:, 0].min(0), boxes[:, 1].max(0)
        self.offset = (self.low + self.high) / 2  # OpenGL computes in float32
        options = self.visualizer.get_render_option()
        options.mesh_show_back_face, options.point_size = True, 2.0
        options.mesh_shade_option = open3d.visualization.MeshShadeOption.Color  # smooth: by vertex normals
        for key in KEYS:
            self.visualizer.register_key_callback(ord(key), lambda _, key=key: self._pressed(key))
        self.draw(first=True)
        return self

    def __exit__(self, *_) -> None:
        self.visualizer.destroy_window()

    def draw(self, *, first: bool = False) -> None:
        """Show the items as the state says."""
        for geometry in self.shown:
            self.visualizer.remove_geometry(geometry, reset_bounding_box=False)
        options = self.visualizer.get_render_option()
        options.mesh_show_wireframe, options.point_show_normal = self.state.wireframe, self.state.paint == "normals"
        self.shown = [self._geometry(item) for item in self._painted()]
        for geometry in self.shown:
            self.visualizer.add_geometry(geometry, reset_bounding_box=first)
        if first and self.shown:
            view = self.visualizer.get_view_control()
            view.set_front(EYE)
            view.set_up((0, 0, 1))
            view.set_zoom(ZOOM)

    def show(self, item: Mesh | PointCloud) -> None:
        """Show this in place of all others."""
        first = not self.items
        self.items = [item]
        self.draw(first=first)

    def poll(self) -> bool:
        """Answer to what the person did; False once the window was closed."""
        alive = self.visualizer.poll_events()
        self.visualizer.update_renderer()
        return alive

    def run(self) -> None:
        """Until the window is closed."""
        while self.poll():
            time.sleep(FRAME)  # in Python, so that Ctrl-C is heard

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 of what the window shows."""
        import numpy as np

        from surfrecon.pictures import as_bytes

        self.poll()
        return as_bytes(np.asarray(self.visualizer.capture_screen_float_buffer(True)))

    def _pressed(self, key: str) -> bool:
        from surfrecon.pictures import save_png

        if key == "H":
            self.say(HELP)
        elif key == "P":
            while Path(name := f"surfrecon-{self.pictures}.png").exists():
                self.pictures += 1
            save_png(self.picture(), name)
            self.say(f"{name} written")
        else:
            self.state.press(key)
            self.say(self.legend(key))
            self.draw()
        return False

    def legend(self, key: str = "") -> str:
        """What the state shows, as a sentence."""
        if key in "XYZ,.V" and self.state.section is not None:
            axis = self.state.section
            return f"section at {'xyz'[axis]} = {self._level():.6g}"
        if self.state.paint == "error":
            if not self.errors:
                return "there is no distance to show without --truth"
            return f"distance to the truth from 0 (dark blue) to {self._largest_error():.4g} (yellow)"
        return f"{self.state.paint}{', wireframe' if self.state.wireframe else ''}"

    def _level(self) -> float:
        axis = self.state.section
        return float(self.low[axis] + self.state.level * (self.high - self.low)[axis])

    def _largest_error(self) -> float:
        import numpy as np

        return float(np.quantile(np.concatenate(list(self.errors)), ERROR_QUANTILE))

    def _painted(self) -> list[Mesh | PointCloud]:
        """The items that are to be seen, cut by the section, with the colours that they are to have, about the origin."""
        import numpy as np

        from surfrecon.geometry import Mesh, Similarity
        from surfrecon.section import behind

        painted, scans = [], 0
        for i, item in enumerate(self.items):
            solid = isinstance(item, Mesh)
            paint = GREY if solid else PALETTE[scans % len(PALETTE)]
            scans += not solid
            if not (self.state.meshes if solid else self.state.points):
                continue
            if solid and item.normals is None:
                item = replace(item, normals=item.vertex_normals())
            colors = self._colors(item, i)
            rows = len(item.vertices if solid else item.points)
            item = replace(item, colors=np.broadcast_to(paint, (rows, 3)) if colors is None else colors, scalars={})
            item = item.transformed(Similarity(translation=-self.offset))
            if self.state.section is not None:
                axis, side = self.state.section, -1 if self.state.other_side else 1
                item = behind(item, side * np.eye(3)[axis], side * (self._level() - self.offset[axis]))
            if len(item.faces if solid else item.points):
                painted.append(item)
        return painted

    def _colors(self, item: Mesh | PointCloud, i: int) -> np.ndarray | None:
        """(N, 3) sRGB, or None for the item's own paint."""
        from surfrecon.pictures import colormap

        paint = self.state.paint
        if paint == "error" and self.errors:
            return colormap(self.errors[i] / max(self._largest_error(), sys.float_info.min))
        if paint == "confidence" and "confidence" in item.scalars:
            return colormap(item.scalars["confidence"])
        if paint == "normals" and item.normals is not None:
            return (item.normals + 1) / 2
        return None if paint == "grey" else item.colors

    def _geometry(self, item: Mesh | PointCloud) -> Any:
        from surfrecon.geometry import Mesh
        from surfrecon.io.exchange import to_open3d

        made = to_open3d(item)
        if isinstance(item, Mesh):
            made.compute_triangle_normals()  # without them there is no light
        return made


def check_display() -> None:
    """Whether there is a display for a window that a person is to see; Open3D draws out of sight where there is none.

    Raises:
        MissingDependencyError: there is none.
    """
    if not sys.platform.startswith("linux") or os.environ.get("WAYLAND_DISPLAY"):
        return
    import ctypes

    name = os.environ.get("DISPLAY")
    if name:
        try:
            x11 = ctypes.CDLL("libX11.so.6")
        except OSError:
            raise MissingDependencyError("no window can be opened without libX11: apt-get install libx11-6") from None
        x11.XOpenDisplay.restype = ctypes.c_void_p
        if x11.XOpenDisplay(None):
            return
    what = f"the display {name} can't be reached" if name else "there is no display"
    raise MissingDependencyError(f"{what}; add --screenshot FILE.png for a picture without one, or, {NO_WINDOW}")


def checked_keys(text: str) -> str:
    """Keys as typed after --press.

    Raises:
        InputError: there is no such key.
    """
    wrong = [key for key in text.upper() if key not in KEYS or key in "PH"]
    if wrong:
        raise InputError(f"--press knows no key {wrong[0]!r}; it knows {''.join(key for key in KEYS if key not in 'PH')}")
    return text.upper()


if __name__ == "__main__":
    from surfrecon.apps.preview import serve

    sys.exit(serve())
