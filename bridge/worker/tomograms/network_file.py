"""Networks for tomograms as files: ours with their settings, and those that IsoNet 0.x has trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.tomogram import published
from cryobridge.schemas.bounds import MAX_NETWORK_BYTES
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain
from cryobridge.wrappers.formats.tensor_file import TensorFile
from cryobridge.wrappers.isonet.keras_model import read_keras_model

from ..jobs.folder import OutputFolder

NETWORK_SCHEMA = "cryobridge/tomogram-network/1"
ISONET = "isonet"
_NOTE = "cryobridge"
_PREFIX = "network."
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_TABLE_BYTES = 4 << 20
_TOLD = "model.safetensors of tomo refine, or a .h5 of IsoNet"


@dataclass(frozen=True)
class StoredIsoNet:
    """IsoNet's network as a file holds it.

    Attributes
    ----------
    shape, state
        Of `IsoNetUNet`; weights by name on the CPU.
    settings
        What is known of its training, as plain JSON values; nothing of a `.h5`.
    """

    path: Path
    shape: published.IsoNetShape
    state: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def built(self, device: torch.device) -> published.IsoNetUNet:
        """The network on a device."""
        network = published.IsoNetUNet(self.shape)
        network.load_state_dict(dict(self.state))
        return network.to(device)


def write_network(folder: OutputFolder, name: str, network: published.IsoNetUNet, settings: Mapping[str, Any]) -> None:
    """Write a network with its settings as `read_network_file` finds them."""
    note = {
        "schema": NETWORK_SCHEMA,
        "network": ISONET,
        "shape": asdict(network.shape),
        "settings": dict(settings),
    }
    tensors = {f"{_PREFIX}{key}": value for key, value in network.state_dict().items()}
    folder.write_tensors(name, tensors, {_NOTE: json.dumps(note)})


def read_network_file(path: Path) -> StoredIsoNet:
    """Read a network; ours and IsoNet's are told apart by content.

    Raises
    ------
    InputInvalid
        If the file cannot be read or is no such network: one sentence.
    """
    try:
        with open(open_plain(path), "rb") as file:
            if file.read(len(_HDF5)) != _HDF5:
                return _read_own(file.fileno(), path)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    model = read_keras_model(path)
    return StoredIsoNet(path, model.shape, model.state)


def _read_own(descriptor: int, path: Path) -> StoredIsoNet:
    try:
        stored = TensorFile(descriptor, _MOST_TABLE_BYTES)
        note = json.loads(stored.metadata[_NOTE])
        schema, kind, shape, settings = (note[key] for key in ("schema", "network", "shape", "settings"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputInvalid(f"{path}: is no whole network for tomograms; give {_TOLD}") from error
    if schema != NETWORK_SCHEMA or kind != ISONET or not isinstance(settings, dict):
        raise InputInvalid(
            f"{path}: is a network of the sort {str(kind)[:40]!r}, which this cryobridge does not know; give {_TOLD}"
        )
    names = [name for name in stored.names if name.startswith(_PREFIX)]
    if sum(stored.size_of(name) for name in names) > MAX_NETWORK_BYTES:
        raise InputInvalid(f"{path}: holds more than the {MAX_NETWORK_BYTES} bytes of weights that are read")
    try:
        of_file = published.IsoNetShape(**{key: _as_told(value) for key, value in shape.items()})
        state = {name.removeprefix(_PREFIX): stored.read(name) for name in names}
        _check(state, of_file)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputInvalid(f"{path}: is a damaged network file ({error}); give {_TOLD}") from error
    return StoredIsoNet(path, of_file, state, settings)


def _as_told(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _check(state: Mapping[str, Tensor], shape: published.IsoNetShape) -> None:
    if shape.filter_base > 1024 or shape.unet_depth > 8 or shape.convs_per_depth > 16:
        raise ValueError("no network is so large")
    with torch.device("meta"):
        expected = published.IsoNetUNet(shape).state_dict()
    if state.keys() != expected.keys():
        raise ValueError("its layers are not those of its shape")
    for name, value in expected.items():
        if state[name].shape != value.shape or not bool(torch.isfinite(state[name]).all()):
            raise ValueError(f"{name} has another shape, or is not finite")
