"""What the parts of convonet's network are worth: short trainings, alike but for one part, and IoU on shapes of other seeds.

The parts: attention to the nearest points; GridFormer's attention in place of pooling; the grid; the planes; and, in steps after the
others, GridFormer's margin on the boundary beside the same steps without it. Short trainings tell which way a part pulls, not how far it
gets.

    python benchmarks/prior_ablations.py                            # and RESULTS.md; about an hour on two cores
    python benchmarks/prior_ablations.py --steps 20 --shapes 24     # shown only
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results import record, table

from surfrecon.data_tools.families import FAMILIES, HELD_OUT
from surfrecon.data_tools.training_shapes import records
from surfrecon.methods.convonet_training import Batches, Lessons, learn, validated
from surfrecon.networks import LAYOUTS, Layout, OccupancyNetwork
from surfrecon.networks.processes import Processes
from surfrecon.run import Run
from surfrecon.shape_set import ShapeSet, write_shapes

STEPS, SHAPES, UNSEEN = 600, 480, 52
AFTER = 0.1  # of the steps, once more, with a margin or without
MARGIN, SLOWER = 2.0, 0.3  # as published; of the learning rate in those steps
SEED, RATE, BATCH = 7, 1.2e-3, 4
BASE = LAYOUTS["objects"]
VARIANTS = {
    "as shipped": BASE,
    "attention in place of pooling": replace(BASE, pooling="attention"),
    "no attention to neighbours": replace(BASE, neighbours=0),
    "planes alone": replace(BASE, grid=0),
    "grid alone": replace(BASE, planes=0),
}


def trained(network: OccupancyNetwork, shapes: ShapeSet, lessons: Lessons, seed: int) -> None:
    batches = Batches(shapes, lessons, network.layout, seed=seed)
    learn(network, batches, lessons, run=Run(), processes=Processes(), every=lessons.steps, show=lambda step, found: None)


def started(layout: Layout) -> OccupancyNetwork:
    torch.manual_seed(SEED)
    return OccupancyNetwork(layout)


def row(name: str, network: OccupancyNetwork, unseen: ShapeSet) -> list[str]:
    found = validated(network, unseen, device=torch.device("cpu"))
    seen = np.mean([iou for family, iou in found.items() if family != HELD_OUT])
    line = [name, f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f}", f"{seen:.3f}", f"{found[HELD_OUT]:.3f}"]
    print("  ".join(line), flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--shapes", type=int, default=SHAPES, help="that the networks learn from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        known = [family for family in FAMILIES if family != HELD_OUT]
        write_shapes(Path(folder) / "shapes", records(known, options.shapes, seed=SEED, workers=2), known)
        write_shapes(Path(folder) / "unseen", records(list(FAMILIES), UNSEEN, seed=SEED + 1, workers=2), list(FAMILIES))
        shapes, unseen = ShapeSet.read(Path(folder) / "shapes"), ShapeSet.read(Path(folder) / "unseen")
        lessons = Lessons(batch=BATCH, rate=RATE, steps=options.steps)
        rows, networks = [], {}
        for name, layout in VARIANTS.items():
            networks[name] = started(layout)
            trained(networks[name], shapes, lessons, SEED)
            rows.append(row(name, networks[name], unseen))
        after = replace(lessons, steps=max(1, round(AFTER * options.steps)), rate=SLOWER * RATE)
        for name, more in (("as shipped, more steps", after), ("as shipped, more steps with a margin", replace(after, margin=MARGIN))):
            network = started(BASE)
            network.load_state_dict(networks["as shipped"].state_dict())
            trained(network, shapes, more, SEED + 1)
            rows.append(row(name, network, unseen))
    head = ["network", "million parameters", "IoU, families trained on", f"IoU, {HELD_OUT}"]
    text = (
        f"{options.steps} steps of {BATCH} shapes, of {options.shapes}; {after.steps} more where it says so. IoU from 3,000 points "
        f"with noise of .005 on {UNSEEN} others.\n\n{table(head, rows)}"
    )
    print(text)
    if (options.steps, options.shapes) == (STEPS, SHAPES):
        record("Parts of convonet's network", text)


if __name__ == "__main__":
    main()
