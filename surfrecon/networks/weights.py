"""Files of weights: float16 tensors of a network, with its layout and what is known of its training.

weights/objects.safetensors and scenes.safetensors came with surfrecon: of whole objects, scaled to a box, and of rooms, through windows.
CARD.md beside them says what they have learnt from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surfrecon.errors import InputError
from surfrecon.io.tensors import mapped_arrays, write_arrays
from surfrecon.networks.layout import Layout
from surfrecon.networks.occupancy_network import OccupancyNetwork

SHIPPED = Path(__file__).parent / "weights"


def named_weights(name: str) -> Path:
    """The file of weights that came with surfrecon under a name, else the file that is named.

    Raises:
        InputError: there is neither.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    file = shipped if shipped.is_file() else Path(name)
    if not file.is_file():
        known = sorted(file.stem for file in SHIPPED.glob("*.safetensors"))
        raise InputError(f"there are no weights {name!r}; take {' or '.join(known) or 'a file'}, or train them (surfrecon train-prior)")
    return file


def write_weights(network: OccupancyNetwork, file: Path, facts: Mapping[str, Any]) -> None:
    """Write a network.

    Args:
        facts: of its training, as JSON knows them.
    """
    arrays = {name: tensor.detach().cpu().to(torch.float16).numpy() for name, tensor in network.state_dict().items()}
    notes = {"layout": json.dumps(network.layout.as_dict()), "facts": json.dumps(dict(facts))}
    write_arrays(file, arrays, notes)


def read_weights(file: Path) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """A network, float32 and on the CPU, and the facts of its training.

    Raises:
        InputError: the file can't be read, or holds no network that this surfrecon knows.
    """
    arrays, notes = mapped_arrays(file)
    try:
        layout, facts = Layout(**json.loads(notes["layout"])), json.loads(notes["facts"])
        network = OccupancyNetwork(layout)
        network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} holds no network that this surfrecon knows ({reason}); train one with `surfrecon train-prior`") from None
    return network, facts
