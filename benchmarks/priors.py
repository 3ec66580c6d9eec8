"""convonet: the network on shapes it has never seen, and what it adds to gridpull where points are few or a side is missing.

Validation: solids of frozen seeds, from 3,000 points with noise of 0.005 of the longest side, by the protocol of Convolutional Occupancy
Networks; one family of them was never trained on. Sparse: sparse_3k of four objects without normals, beside gridpull and Screened Poisson
at its best depth by the truth. Half: their virtual scans without the sensors of one side. Room: a furnished hall of 20 x 20 m, scanned
from within, by the scenes' weights.

    python benchmarks/priors.py                      # all, and RESULTS.md
    python benchmarks/priors.py --only half          # this part of them
    python benchmarks/priors.py --weights FILE       # of other weights for objects, shown only
    python benchmarks/priors.py --scenes FILE        # and for scenes
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from results import DATA, record, table
from scans import OBJECTS, POISSON_NEIGHBOURS, geometric, poisson, users_normals

from surfrecon.data_tools.families import FAMILIES, HELD_OUT, random_shape
from surfrecon.data_tools.rooms import room
from surfrecon.data_tools.shapes import mesh_of
from surfrecon.data_tools.training_shapes import eyes_within, seen_from
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import read_mesh, read_scan, write_scan
from surfrecon.methods.convonet import ConvONet
from surfrecon.metrics import PROTOCOLS, closest, compare, largest_component, sample_surface, volume_iou
from surfrecon.reconstruction import reconstruct
from surfrecon.repair import inspect

SEED, SHAPES = 2026, 4  # of the validation: shapes of each family
POINTS, NOISE = 3000, 0.005
TRUTH_CELLS = 128
SAMPLES = 20_000
DEPTHS = (6, 7, 8)
SIDES = ((0, 1, 2), (3, 4, 5), (0, 2, 4))  # sensors that are left, of seven
HALL, HALL_CELLS, HALL_POINTS, HALL_NOISE = (20.0, 20.0), 400, 200_000, 0.005  # metres; the noise as well
HALL_SEED, EYES = 3, 14
NEAR = 0.05  # metres within which a place counts as found
AIMS = {"seen": 0.80, "unseen": 0.70, "half": 0.05, "seconds": 5.0, "room seconds": 90, "room gigabytes": 4}


def solid(mesh: Mesh) -> str:
    return "yes" if inspect(mesh).solid else "NO"


def validation(method: Callable[..., ConvONet]) -> str:
    """The network alone."""
    rows, found = [], {}
    for family in FAMILIES:
        results = []
        for number in range(SHAPES):
            rng = np.random.default_rng([SEED, number])
            truth = mesh_of(random_shape(family, rng), TRUTH_CELLS)
            points = sample_surface(truth, POINTS, number)[0]
            points = points + NOISE * np.ptp(truth.bounds(), axis=0).max() * rng.standard_normal(points.shape)
            mesh = reconstruct(PointCloud(points), method(refine="none")).mesh
            result = PROTOCOLS["convonet"](mesh, truth)
            results.append([result["iou"], result["chamfer_l1_x10"], result["normals"], result["f_score"]["0.01"], inspect(mesh).solid])
        mean = np.mean(results, axis=0)
        found[family] = mean
        rows.append([family + (" (never trained on)" if family == HELD_OUT else ""), *(f"{value:.3f}" for value in mean[:4])])
        rows[-1].append("yes" if mean[4] == 1 else "NO")
        print("  ".join(rows[-1]), flush=True)
    seen = np.mean([found[family] for family in FAMILIES if family != HELD_OUT], axis=0)
    rows.append(["mean of those trained on", *(f"{value:.3f}" for value in seen[:4]), "yes" if seen[4] == 1 else "NO"])
    text = table(["family", "IoU", "Chamfer-L1 x 10", "normals", "F at 1 %", "solid"], rows)
    aims = f"Wanted: IoU {AIMS['seen']:.2f} on the families trained on, {AIMS['unseen']:.2f} on {HELD_OUT}."
    return f"{SHAPES} shapes of each family, {POINTS:,} points, noise {NOISE}; the network without gridpull. {aims}\n\n{text}"


def sparse(method: Callable[..., ConvONet]) -> str:
    rows, ratios = [], []
    for item in OBJECTS:
        truth = read_mesh(DATA / f"gt_{item}" / "gt.ply")
        points = read_scan(DATA / f"gt_{item}" / "sparse_3k_normals.ply").points
        cloud = PointCloud(points)
        made = {
            "convonet": lambda cloud=cloud: reconstruct(cloud, method()).mesh,
            "network alone": lambda cloud=cloud: reconstruct(cloud, method(refine="none")).mesh,
            "gridpull": lambda cloud=cloud: reconstruct(cloud, "gridpull").mesh,
        }
        found = {name: measured(make(), truth) for name, make in made.items()}
        normals = users_normals(points)
        found["Poisson"] = min((measured(poisson(points, normals, depth), truth) for depth in DEPTHS), key=lambda row: row[0])
        rows += [[item, name, f"{1000 * d:.3f}", f"{f:.4f}", closed] for name, (d, f, closed) in found.items()]
        ratios.append([found["convonet"][i] / found[other][i] for other in ("gridpull", "Poisson") for i in (0, 1)])
        print("\n".join("  ".join(row) for row in rows[-4:]), flush=True)
    means = [geometric(list(column)) for column in zip(*ratios)]
    text = table(["cloud", "method", "distance", "F at 1 %", "solid"], rows)
    return (
        f"sparse_3k without normals. Distance (exact, both ways) in thousandths of the truth's diagonal; Poisson at the best of depths "
        f"{', '.join(map(str, DEPTHS))} by the truth, with its users' normals ({POISSON_NEIGHBOURS} neighbours).\n\n{text}\n\n"
        f"Geometric means, convonet over gridpull: distance {means[0]:.4f}, F {means[1]:.4f}; over Poisson: {means[2]:.3f}, {means[3]:.3f}."
    )


def measured(mesh: Mesh, truth: Mesh) -> tuple[float, float, str]:
    """Distance over the diagonal, F-score at 1 % by the protocol, and whether it is solid."""
    whole = solid(mesh)
    mesh = largest_component(mesh)
    result = compare(mesh, truth, samples=SAMPLES)
    return result.distance / result.diagonal, PROTOCOLS["convonet"](mesh, truth)["f_score"]["0.01"], whole


def half(method: Callable[..., ConvONet]) -> str:
    rows, gains = [], []
    for item in OBJECTS:
        truth = read_mesh(DATA / f"gt_{item}" / "gt.ply")
        scan = read_scan(DATA / f"gt_{item}" / "virtual_scan.ply")
        sensor = np.asarray(scan.scalars["sensor_id"])
        for kept in SIDES:
            cloud = PointCloud(scan.points[np.isin(sensor, kept)])
            meshes = [reconstruct(cloud, settings).mesh for settings in (method(), method(refine="none"), "gridpull")]
            found = [volume_iou(mesh, truth) for mesh in meshes]
            gains.append(found[0] - found[2])
            rows.append([f"{item}, sensors {' '.join(map(str, kept))}", *(f"{iou:.3f}" for iou in found), f"{gains[-1]:+.3f}"])
            rows[-1].append("yes" if all(inspect(mesh).solid for mesh in meshes) else "NO")
            print("  ".join(rows[-1]), flush=True)
    text = table(["virtual scan", "convonet", "network alone", "gridpull", "gain over gridpull", "solid"], rows)
    aim = f"IoU against the truth. Wanted: {AIMS['half']} more than gridpull alone on the mean."
    return f"{aim}\n\n{text}\n\nMean gain: {np.mean(gains):+.3f}."


def seconds(method: Callable[..., ConvONet]) -> str:
    """Of the whole command on 3,000 points, import included."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "scan.ply"
        write_scan(PointCloud(read_scan(DATA / "gt_horse" / "sparse_3k_normals.ply").points), source)
        for name, words in {"convonet --preset network": ["--preset", "network"], "convonet": []}.items():
            command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(source), "-o", str(Path(folder) / "mesh.ply"), "--overwrite"]
            best = np.inf
            for _ in range(2):
                start = time.perf_counter()
                subprocess.run([*command, "--method", "convonet", *words], check=True, capture_output=True)
                best = min(best, time.perf_counter() - start)
            rows.append([name, f"{best:.1f}"])
            print("  ".join(rows[-1]), flush=True)
    return f"Whole command, 3,000 points of the horse; wanted {AIMS['seconds']:.0f} s for the network.\n\n{table(['command', 's'], rows)}"


def hall(method: Callable[..., ConvONet]) -> str:
    """The whole command on a scan of a hall, as a scanner that stood at some places within it made it."""
    rng = np.random.default_rng(HALL_SEED)
    shape = room(rng, HALL, walls=4)
    truth = mesh_of(shape, HALL_CELLS)
    points, normals, _ = sample_surface(truth, 4 * HALL_POINTS, 0)
    seen = points[seen_from(truth, points, normals, eyes_within(shape, EYES, rng), lift=1e-3) > 0]
    scanned = seen[rng.permutation(len(seen))[:HALL_POINTS]]
    cloud = PointCloud(scanned + HALL_NOISE * rng.standard_normal(scanned.shape))
    commands = {
        "convonet, scenes, network alone": ["--method", "convonet", "--preset", "network"],
        "convonet, scenes": ["--method", "convonet"],
        "gridpull": ["--method", "gridpull"],
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scan, mesh, settings = (Path(folder) / name for name in ("scan.ply", "mesh.ply", "settings.toml"))
        write_scan(cloud, scan)
        settings.write_text(f'[convonet]\nweights = "{method().weights}"\n')
        for name, words in commands.items():
            start = time.perf_counter()
            command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(scan), "-o", str(mesh), "--json", "--overwrite", *words]
            done = subprocess.run([*command, "--settings", str(settings)], check=True, capture_output=True, text=True)
            spent, made, report = time.perf_counter() - start, read_mesh(mesh), json.loads(done.stdout)
            found = (closest(seen[:SAMPLES], made)[0] < NEAR).mean()
            right = (closest(sample_surface(made, SAMPLES, 0)[0], truth)[0] < NEAR).mean()
            iou = volume_iou(made, truth)
            rows.append([name, f"{spent:.0f}", f"{report['peak_memory_bytes'] / 2**30:.2f}", f"{found:.3f}", f"{right:.3f}", f"{iou:.3f}"])
            rows[-1].append(solid(made))
            print("  ".join(rows[-1]), flush=True)
    head = ["method", "s", "GiB", f"seen, found within {100 * NEAR:.0f} cm", "mesh, right within it", "IoU", "solid"]
    aim = f"Wanted: {AIMS['room seconds']} s, {AIMS['room gigabytes']} GB."
    about = f"{HALL[0]:.0f} x {HALL[1]:.0f} m with furniture, {len(cloud):,} points seen from {EYES} places, noise {HALL_NOISE} m."
    return f"{about} Whole command. {aim}\n\n{table(head, rows)}"


PARTS = {"validation": validation, "sparse": sparse, "half": half, "seconds": seconds, "room": hall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--scenes", default="scenes", help="a file of weights for scenes, likewise")
    parser.add_argument("--weights", default="objects", help="a file of weights, in place of those that came with surfrecon")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.only in (None, name):
            shipped, weights = ("scenes", options.scenes) if part is hall else ("objects", options.weights)
            text = part(partial(ConvONet, weights=weights))
            print(text, flush=True)
            if weights == shipped:
                record(f"convonet: {name}", text)


if __name__ == "__main__":
    main()
