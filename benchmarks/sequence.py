"""Ten frames of an object that turns, drifts, twists and bends: error and time of those that follow another, beside a frame alone.

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

from surfrecon.io import read_mesh
from surfrecon.metrics import compare
from surfrecon.pictures import save_png, six_sides
from surfrecon.repair import inspect

FRAMES, VIEWS, SIDE = 10, 30, 320
OBJECT = "relic"
SAMPLES = 50_000
MOST_ERROR, MOST_TIME = 1.5, 0.25  # times the error of a frame alone; times the seconds of the first frame
HEAD = ["frame", "distance", "over alone", "Hausdorff", "solid", "turn found", "true", "s", "of the first"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="the first N; nothing is recorded then")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where pictures of the meshes go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [OBJECT, "--frames", FRAMES, "--views", VIEWS, "--size", SIDE, "--resolution", 192, "--truth", folder / "truth.ply"]
        timed("-m", "surfrecon.data_tools.render_views", *words, "-o", folder / "frames")
        for frame in range(options.frames, FRAMES):
            (folder / "frames" / f"frame_{frame:03d}").rename(folder / f"unused_{frame}")
        timed("-m", "surfrecon.apps.cli", "images", folder / "frames", "-o", folder / "mesh.ply")
        alone = error_alone(folder, options.frames - 1)
        rows = [measured(folder, frame, alone, options.pictures) for frame in range(options.frames)]
    text = f"""{OBJECT}, {VIEWS} views of {SIDE} x {SIDE} a frame. Distance (exact, both ways) and Hausdorff in thousandths of the truth's
diagonal; over alone: over the distance of the last frame reconstructed by itself. Turn: from the frame before, degrees; the true one is
that of the rigid part. Wanted: distance at most {MOST_ERROR} of that alone, time at most {MOST_TIME} of the first frame's.

{table(HEAD, rows)}
"""
    print(text)
    if options.frames == FRAMES:
        record("Sequences of photographs", text)


def error_alone(folder: Path, frame: int) -> float:
    """Distance of a frame that is reconstructed by itself."""
    own = folder / "alone.ply"
    timed("-m", "surfrecon.apps.cli", "images", folder / "frames" / f"frame_{frame:03d}", "-o", own)
    return compare(read_mesh(own), read_mesh(folder / f"truth_{frame:03d}.ply"), samples=SAMPLES).distance


def measured(folder: Path, frame: int, alone: float, pictures: Path | None) -> list[str]:
    """A row of the table."""
    truth, target = read_mesh(folder / f"truth_{frame:03d}.ply"), folder / f"mesh_{frame:03d}.ply"
    mesh = read_mesh(target)
    report = json.loads((target.with_suffix(".run") / "report.json").read_text())
    first = json.loads((folder / "mesh_000.run" / "report.json").read_text())["seconds"]
    found, motion, wanted = compare(mesh, truth, samples=SAMPLES), report["facts"].get("motion"), ""
    if frame:
        states = json.loads((folder / "frames" / "motion.json").read_text())["frames"]
        then, now = (np.array(states[i]["world_from_deformed"])[:3, :3] for i in (frame - 1, frame))
        wanted = f"{np.degrees(Rotation.from_matrix(now @ then.T).magnitude()):.1f}"
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        save_png(six_sides(mesh, size=(480, 400)), pictures / f"frame_{frame:03d}.png")
    thousandths = 1000 / found.diagonal
    row = [
        str(frame),
        f"{found.distance * thousandths:.3f}",
        f"{found.distance / alone:.2f}",
        f"{found.hausdorff * thousandths:.2f}",
        "yes" if inspect(mesh).solid else "NO",
        f"{motion['degrees']:.1f}" if motion else "alone",
        wanted,
        f"{report['seconds']:.0f}",
        f"{report['seconds'] / first:.2f}",
    ]
    print("  ".join(row), flush=True)
    return row


if __name__ == "__main__":
    main()
