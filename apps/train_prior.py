"""surfrecon train-prior: teach convonet's network shapes, from a set that data_tools has made, into a file of weights."""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps.options import positive, whole
from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.networks import OccupancyNetwork

EXAMPLES = """
PROG shapes -o objects.safetensors --validation unseen --steps 20000
PROG shapes -o objects.safetensors --validation unseen --resume
PROG my_shapes -o mine.safetensors --from objects --steps 2000 --rate 0.0003
torchrun --nproc-per-node 8 -m surfrecon.apps.cli train-prior shapes -o objects.safetensors
"""
LAYOUTS = ("objects", "scenes")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shapes", nargs="+", type=Path, metavar="SHAPES", help="folders of sets, from surfrecon.data_tools.make_shapes")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.safetensors", help="weights to write; beside it OUT.run/")
    parser.add_argument("--validation", type=Path, metavar="SHAPES", help="folder of another set, to measure the network on")
    parser.add_argument("--layout", default="objects", metavar="NAME", help=f"what it is for: {', '.join(LAYOUTS)} (default: objects)")
    parser.add_argument("--set", action="append", default=[], metavar="SIZE=VALUE", help="of the layout, see networks/layout.py")
    parser.add_argument("--from", dest="start", metavar="WEIGHTS", help="go on from these, and their layout: a file, objects or scenes")
    parser.add_argument("--steps", type=whole(1), default=20_000, metavar="N", help="of Adam (default: %(default)s)")
    parser.add_argument("--batch", type=whole(1), default=4, metavar="N", help="shapes of a step, of each process (default: %(default)s)")
    parser.add_argument("--places", type=whole(8), default=2048, metavar="N", help="queries of a shape (default: %(default)s)")
    parser.add_argument("--rate", type=positive, default=1e-3, metavar="X", help="learning rate at its greatest (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=0.0, metavar="X", help="learn the boundary alone, by this margin in log odds")
    parser.add_argument("--every", type=whole(1), default=500, metavar="N", help="steps from one look at the validation to the next")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of every random number (default: 0)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted run of the same command")


def run(options: argparse.Namespace) -> None:
    import torch

    from surfrecon.apps.console import Progress, print_json, print_lines
    from surfrecon.apps.files import check_output
    from surfrecon.apps.machine import chosen_device
    from surfrecon.checkpoints import Checkpoints
    from surfrecon.methods.convonet_training import Batches, Lessons, learn
    from surfrecon.networks.processes import Processes
    from surfrecon.networks.weights import write_weights
    from surfrecon.run import Run
    from surfrecon.shape_set import ShapeSet

    check_output(options.output, suffixes=(".safetensors",), taken=(options.output,), overwrite=options.overwrite or options.resume)
    shapes = ShapeSet.read(*options.shapes)
    unseen = ShapeSet.read(options.validation) if options.validation else None
    lessons = Lessons(options.batch, options.places, options.rate, options.steps, options.margin)
    with Processes() as processes, _claimed(options, processes.rank), Progress() as progress:
        device = processes.device(chosen_device(options.device)[0])
        follows = processes.rank > 0
        told = None if follows else progress
        run = Run(str(device), options.seed, folder=_folder(options), on_step=told, resume=options.resume, follows=follows)
        run.fingerprint = _fingerprint(options, shapes)
        torch.manual_seed(options.seed)
        network, layout = _network(options)
        network = network.to(device)
        facts = _facts(options, shapes, processes.count, str(device)) | {"layout": layout}

        def show(step: int, found: dict[str, Any]) -> None:
            """Keep the weights as they are, and the line that belongs to them."""
            if follows:
                return
            with open(run.folder / "steps.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **found}) + "\n")
            write_weights(network, options.output, facts | {"steps": step, **found})

        run.folder.mkdir(parents=True, exist_ok=True)
        batches = Batches(shapes, lessons, network.layout, seed=options.seed, rank=processes.rank)
        found = learn(network, batches, lessons, run=run, processes=processes, unseen=unseen, every=options.every, show=show)
        if not (run.stopped or follows):
            Checkpoints(run).clear()
    if not follows:
        report = {"file": str(options.output), "parameters": sum(p.numel() for p in network.parameters())} | facts | found
        print_json(report) if options.json else print_lines([f"{key}: {value}" for key, value in report.items()])


def _claimed(options: argparse.Namespace, rank: int) -> AbstractContextManager:
    """The folder beside the weights for this run alone, of whose processes the first takes it."""
    from surfrecon.apps.files import claimed

    return nullcontext() if rank else claimed(_folder(options), options.output)


def _folder(options: argparse.Namespace) -> Path:
    return options.output.with_suffix(".run")


def _network(options: argparse.Namespace) -> tuple[OccupancyNetwork, str]:
    """What is to learn, and the name of its layout."""
    from surfrecon.networks import LAYOUTS as KNOWN
    from surfrecon.networks import Layout, OccupancyNetwork
    from surfrecon.networks.weights import named_weights, read_weights

    if options.start:
        network, facts = read_weights(named_weights(options.start))
        return network, str(facts.get("layout"))
    if options.layout not in KNOWN:
        raise InputError(f"there is no layout {options.layout!r}; choose one of {', '.join(KNOWN)}")
    sizes = KNOWN[options.layout].as_dict()
    for text in options.set:
        key, _, value = text.partition("=")
        if key not in sizes:
            raise InputError(f"a layout has no size {key!r}; choose among {', '.join(sizes)}")
        try:
            sizes[key] = value if isinstance(sizes[key], str) else int(value)
        except ValueError:
            raise InputError(f"{key} of a layout must be a whole number, got {value!r}") from None
    return OccupancyNetwork(Layout(**sizes)), options.layout


def _fingerprint(options: argparse.Namespace, shapes) -> str:
    """SHA-256 of all that decides what is learnt."""
    import hashlib

    from surfrecon.networks.weights import named_weights

    names = ("layout", "set", "steps", "batch", "places", "rate", "margin", "seed")
    known = {name: getattr(options, name) for name in names} | {"shapes": list(shapes.about)}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    if options.start:
        digest.update(named_weights(options.start).read_bytes())
    return digest.hexdigest()


def _facts(options: argparse.Namespace, shapes, processes: int, device: str) -> dict[str, Any]:
    """For the file of weights: what a model card needs to say."""
    names = ("steps", "batch", "places", "rate", "margin", "seed")
    known = {name: getattr(options, name) for name in names} | {"from": Path(options.start).stem if options.start else None}
    return known | {"shapes": list(shapes.about), "processes": processes, "device": device}
