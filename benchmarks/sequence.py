"""Ten frames of an object that turns, drifts, twists and bends: error and time of those that follow another, beside the first.

    python benchmarks/sequence.py                                   # and RESULTS.md
    python benchmarks/sequence.py --frames 3 --pictures FOLDER      # shown only
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from command import timed
from results import record, table
from scipy.spatial.transform import Rotation

from surfrecon.geometry import Mesh
from surfrecon.io import read_mesh
from surfrecon.metrics import Comparison, compare
from surfrecon.pictures import save_png, six_sides
from surfrecon.repair import inspect

FRAMES, VIEWS, SIDE = 10, 30, 320
OBJECT = "relic"
SAMPLES = 50_000
MOST_ERROR, MOST_TIME = 1.5, 0.25  # times the error, and the seconds, of the first frame
HEAD = ["frame", "distance", "over the first", "Hausdorff", "solid", "turn found", "true", "s", "of the first"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="the first N; nothing is recorded then")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where pictures of the meshes go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [OBJECT, "--frames", FRAMES, "--views", VIEWS, "--size", SIDE, "--resolution", 192, "--truth", folder / "truth.ply"]
        timed("-m", "surfrecon.data_tools.render_views", *words, "-o", folder / "frames")
        for file in (folder / "frames").glob("*/transforms.json"):  # photographs alone: the true depths that come with them would be used
            views = json.loads(file.read_text())
            views["frames"] = [{key: value for key, value in view.items() if key != "depth_file_path"} for view in views["frames"]]
            file.write_text(json.dumps(views))
        for frame in range(options.frames, FRAMES):
            (folder / "frames" / f"frame_{frame:03d}").rename(folder / f"unused_{frame}")
        timed("-m", "surfrecon.apps.cli", "images", folder / "frames", "-o", folder / "mesh.ply")
        rows = [measured(folder, frame, options.pictures) for frame in range(options.frames)]
    text = f"""{OBJECT}, {VIEWS} views of {SIDE} x {SIDE} a frame; the first is reconstructed by itself, as any photographs are. Distance
(exact, both ways) and Hausdorff in thousandths of the truth's diagonal. Turn: from the frame before, degrees; the true one is that of the
rigid part, which the object twists besides. Wanted: distance at most {MOST_ERROR}, seconds at most {MOST_TIME} of the first frame's.

{table(HEAD, rows)}
"""
    print(text)
    if options.frames == FRAMES:
        record("Sequences of photographs", text)


def measured(folder: Path, frame: int, pictures: Path | None) -> list[str]:
    """A row of the table."""
    found, seconds, report, mesh = outcome(folder, frame)
    first, first_seconds, *_ = outcome(folder, 0)
    motion, wanted = report["facts"].get("motion"), ""
    if frame:
        states = json.loads((folder / "frames" / "motion.json").read_text())["frames"]
        then, now = (np.array(states[i]["world_from_deformed"])[:3, :3] for i in (frame - 1, frame))
        wanted = f"{np.degrees(Rotation.from_matrix(now @ then.T).magnitude()):.1f}"
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        save_png(six_sides(mesh, size=(480, 400)), pictures / f"frame_{frame:03d}.png")
    row = [
        str(frame),
        f"{1000 * found.distance / found.diagonal:.3f}",
        f"{found.distance / found.diagonal / first.distance * first.diagonal:.2f}",
        f"{1000 * found.hausdorff / found.diagonal:.1f}",
        "yes" if inspect(mesh).solid else "NO",
        f"{motion['degrees']:.1f}" if motion else "alone",
        wanted,
        f"{seconds:.0f}",
        f"{seconds / first_seconds:.2f}",
    ]
    print("  ".join(row), flush=True)
    return row


def outcome(folder: Path, frame: int) -> tuple[Comparison, float, dict, Mesh]:
    """Errors and seconds of a frame, the command's report, and its mesh."""
    target = folder / f"mesh_{frame:03d}.ply"
    report, mesh = json.loads((target.with_suffix(".run") / "report.json").read_text()), read_mesh(target)
    return compare(mesh, read_mesh(folder / f"truth_{frame:03d}.ply"), samples=SAMPLES), report["seconds"], report, mesh


if __name__ == "__main__":
    main()
