"""What each preset costs beside Open3D's Screened Poisson at depth 9, whole commands from PLY to PLY; scans of about 100,000 points.

Poisson's normals are those that its users have: PCA of 16 neighbours, consistent tangent planes.

    python benchmarks/presets.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from command import command, timed
from results import DATA, record, table

from surfrecon.io import read_mesh
from surfrecon.metrics import compare, largest_component

PRESETS = {"fast": 2, "balanced": 6, "fine": 25}  # most times as long as Poisson that each may take
MOST_GIGABYTES = 2.0
SAMPLES = 50_000
PEER = """
import sys, open3d as o3d
cloud = o3d.io.read_point_cloud(sys.argv[1])
cloud.normals = o3d.utility.Vector3dVector()
cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(16))
cloud.orient_normals_consistent_tangent_plane(16)
mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=9)
o3d.io.write_triangle_mesh(sys.argv[2], mesh)
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def scans(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Name -> scan and truth."""
    found = {}
    if (DATA / "srb_scans" / "gargoyle.ply").exists():
        found["gargoyle"] = DATA / "srb_scans" / "gargoyle.ply", DATA / "srb_scans" / "gargoyle_gt.ply"
    scan, truth = folder / "bracket.ply", folder / "truth.ply"
    command("surfrecon.data_tools.simulate", "bracket", "-o", scan, "--truth", truth, "--points", 100_000)
    return found | {"bracket, simulated": (scan, truth)}


def accuracy(mesh: Path, truth: Path) -> list[str]:
    if not truth.exists():
        return ["", ""]
    result = compare(largest_component(read_mesh(mesh)), read_mesh(truth), samples=SAMPLES)
    return [f"{1000 * value / result.diagonal:.3f}" for value in (result.distance, result.hausdorff)]


def main() -> None:
    rows, misses = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mesh, script = folder / "mesh.ply", folder / "peer.py"
        script.write_text(PEER)
        for scan_name, (scan, truth) in scans(folder).items():
            text, peer_seconds, peer_used = timed(script, scan, mesh)
            gigabytes = int(text.split()[-1]) / 2**20
            costs = [f"{peer_seconds:.1f}", f"{peer_used:.1f}", "1", "1", f"{gigabytes:.2f}"]
            rows.append([scan_name, "Poisson 9", *costs, *accuracy(mesh, truth)])
            print("  ".join(rows[-1]), flush=True)
            for preset, most in PRESETS.items():
                options = ("-o", mesh, "--preset", preset, "--json", "--overwrite")
                text, seconds, used = timed("-m", "surfrecon.apps.cli", "scan", scan, *options)
                gigabytes = json.loads(text)["peak_memory_bytes"] / 2**30
                ratio = seconds / peer_seconds
                costs = [f"{seconds:.1f}", f"{used:.1f}", f"{ratio:.1f}", f"{used / peer_used:.1f}", f"{gigabytes:.2f}"]
                rows.append([scan_name, preset, *costs, *accuracy(mesh, truth)])
                print("  ".join(rows[-1]), flush=True)
                if ratio > most or gigabytes > MOST_GIGABYTES:
                    misses.append(f"{preset} on {scan_name}: {ratio:.1f} times as long, {gigabytes:.2f} GiB")
    head = ["scan", "", "s", "processor s", "s, times Poisson's", "processor s, times Poisson's", "GiB", "distance", "Hausdorff"]
    wanted = ", ".join(f"{preset} <= {most}" for preset, most in PRESETS.items())
    text = f"Aims, in times Poisson's seconds: {wanted}; {MOST_GIGABYTES:g} GiB each. Lengths in thousandths of the truth's diagonal.\n\n"
    text += table(head, rows) + "\n\nMissed: " + ("; ".join(misses) or "none") + "."
    record("Presets beside Screened Poisson", text)


if __name__ == "__main__":
    main()
