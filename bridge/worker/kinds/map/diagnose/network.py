"""A trained network that `map.diagnose` tests, and the options to run it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cryobridge.core.correction import CorrectionState
from cryobridge.schemas.correction import BASE_WIDTH, CorrectionOptions
from cryobridge.schemas.errors import InputInvalid

from ....jobs.pretrained import read_network


@dataclass(frozen=True)
class Network:
    """A trained network, and the options to run it with."""

    state: CorrectionState
    options: CorrectionOptions


def stored_network(path: Path, device: torch.device, seed: int) -> Network:
    """Read a network from a file.

    The file tells width, normalisation and number of networks. What it is shown of a map goes by the normalisation:
    batch is the published method, anything else ours.

    Raises
    ------
    InputInvalid
        If the file is no network, or of a width that no preset has.
    """
    stored = read_network(path)
    layout = stored.layout
    preset = {width: name for name, width in BASE_WIDTH.items()}.get(layout.base_width)
    if preset is None:
        raise InputInvalid(
            f"{path}: is a network of width {layout.base_width}; only {list(BASE_WIDTH.values())} are run"
        )
    make = CorrectionOptions.published if layout.norm == "batch" else CorrectionOptions.for_device
    mode = "independent" if layout.networks == 2 else "shared"
    options = make(device.type, preset=preset, norm=layout.norm, mode=mode, seed=seed, see_mask=layout.see_mask)
    return Network(stored.started(options, device), options)
