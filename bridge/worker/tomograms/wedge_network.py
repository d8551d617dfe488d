"""The networks of the missing-wedge correction as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from cryobridge.core.tomogram import NAME, TwoHeadUNet, new_network
from cryobridge.core.training import Learned, initialised_from
from cryobridge.schemas.bounds import MAX_NETWORK_BYTES
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain
from cryobridge.schemas.wedge import WedgeOptions
from cryobridge.wrappers.formats.tensor_file import TensorFile

OURS = Path(__file__).resolve().with_name("pretrained_wedge.safetensors")
"""What was trained on random scenes; docs/pretrained-network.md tells how."""
WEDGE = "wedge"
_NOTE = "cryobridge"
_FIRST = "first.weight"
_MAX_HEADER_BYTES = 1 << 20
_WIDEST = 64


@dataclass(frozen=True)
class StoredWedgeNetwork:
    """Weights by name, float32, the width that they are of, and how they were trained, as plain JSON values."""

    base_width: int
    weights: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def learned(self, options: WedgeOptions, device: torch.device) -> Learned:
        """A training that begins with these weights."""
        found = new_learned(options, device)
        tensors = {f"{part}.{name}": value for name, value in self.weights.items() for part in ("network", "average")}
        found.named[NAME].load_tensors(tensors)
        return found


def new_learned(options: WedgeOptions, device: torch.device) -> Learned:
    """A training that begins with a network that knows nothing."""
    with initialised_from(options.seed):
        network = new_network(options)
    # The type stubs know no Module.to with a memory format alone.
    network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Learned({NAME: network}, options, device)


def weights_of(learned: Learned) -> dict[str, Tensor]:
    """The averaged weights, on the CPU."""
    return {name: value.detach().cpu().float() for name, value in learned.named[NAME].average.items()}


def network_bytes(
    weights: Mapping[str, Tensor], *, half_precision: bool = False, settings: Mapping[str, Any] | None = None
) -> bytes:
    """The file of a network, with what is to be known of its training."""
    kept = {name: (value.half() if half_precision else value).contiguous() for name, value in weights.items()}
    note = {"network": WEDGE, **({} if settings is None else {"settings": dict(settings)})}
    return safetensors.torch.save(kept, metadata={_NOTE: json.dumps(note)})


def is_wedge_network(path: Path) -> bool:
    """Whether a file says of itself that it is such a network; False where it cannot be read as one."""
    try:
        with open(open_plain(path), "rb") as file:
            return _note(TensorFile(file.fileno(), _MAX_HEADER_BYTES)).get("network") == WEDGE
    except (OSError, ValueError):
        return False


def read_wedge_network(path: Path) -> StoredWedgeNetwork:
    """Read a network of `tomo.correct`.

    Raises
    ------
    InputInvalid
        If the file cannot be read or is no such network; one sentence.
    """
    try:
        with open(open_plain(path), "rb") as file:
            stored = TensorFile(file.fileno(), _MAX_HEADER_BYTES)
            if sum(stored.size_of(name) for name in stored.names) > MAX_NETWORK_BYTES:
                raise InputInvalid(f"{path}: holds more than {MAX_NETWORK_BYTES} bytes of weights; give a network")
            weights = {name: stored.read(name).float() for name in stored.names}
            settings = _note(stored).get("settings", {})
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    except ValueError as error:
        raise InputInvalid(f"{path}: is no whole network file; give model.safetensors of tomo refine") from error
    first = weights.get(_FIRST)
    width = first.shape[0] if first is not None and first.dim() == 5 else 0
    with torch.device("meta"):
        expected = {name: value.shape for name, value in TwoHeadUNet(max(1, min(width, _WIDEST))).named_parameters()}
    found = {name: value.shape for name, value in weights.items()}
    if found != expected or not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise InputInvalid(f"{path}: is no network of tomo refine or tomo correct, or a damaged one; give another file")
    return StoredWedgeNetwork(width, weights, settings if isinstance(settings, dict) else {})


def _note(stored: TensorFile) -> Mapping[str, Any]:
    """What a file says of itself; nothing where that is no table."""
    try:
        found = json.loads(stored.metadata.get(_NOTE, "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
