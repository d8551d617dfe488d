"""A network that a correction starts from: our own of an earlier job, or one that spIsoNet has trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, StoredLayout, stored_layout
from cryobridge.core.training import Learner
from cryobridge.schemas.bounds import MAX_NETWORK_BYTES
from cryobridge.schemas.correction import BASE_WIDTH, CorrectionOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain
from cryobridge.wrappers.formats.tensor_file import TensorFile
from cryobridge.wrappers.spisonet.checkpoint import read_checkpoint

OURS = Path(__file__).resolve().parents[1] / "training" / "pretrained.safetensors"
"""The network that was trained on simulated half-maps; docs/pretrained-network.md tells how."""
_MAX_HEADER_BYTES = 1 << 20
"""Of a `.safetensors` file; those of our networks have some kilobytes."""
_ZIP = b"PK\x03\x04"
_LEARNED = ("network.", "average.")
_FEW_BYTES = 1024
"""Of what tells of a network's making; its weights have more."""


@dataclass(frozen=True)
class StoredNetwork:
    """A network as a file holds it, read once.

    layout
        What its networks are.
    learned
        What each of them has learned, by name.
    """

    path: Path
    layout: StoredLayout
    learned: list[dict[str, Tensor]]

    def fitting(self, options: CorrectionOptions, chosen: Collection[str]) -> CorrectionOptions:
        """Options as this network wants them, but for what the user has chosen."""
        preset = {width: name for name, width in BASE_WIDTH.items()}.get(self.layout.base_width, options.preset)
        wanted = {"preset": preset, "norm": self.layout.norm, "see_mask": self.layout.see_mask}
        return options.model_copy(update={name: value for name, value in wanted.items() if name not in chosen})

    def started(self, options: CorrectionOptions, device: torch.device | str) -> CorrectionState:
        """Start a correction.

        Only what was learned is taken over: the training to come is of other maps, so it counts its own steps and its
        optimiser begins anew. In independent mode a single network is given to both halves, which are then no longer
        independent if it was trained on both.

        Raises
        ------
        InputInvalid
            If the options want another network; one sentence.
        """
        _check_options(self.path, self.layout, options)
        state = CorrectionState.new(options, device)
        for index, learner in enumerate(state.learners):
            _load(self.path, learner, self.learned[index % len(self.learned)])
        return state


def pretrained_network() -> StoredNetwork:
    """The network that was trained on simulated half-maps, which comes with the program."""
    return read_network(OURS)


def read_network(path: Path) -> StoredNetwork:
    """Read a stored network.

    Parameters
    ----------
    path
        `network.safetensors` of an earlier correction, or spIsoNet's `.pt`; told apart by content.

    Raises
    ------
    InputInvalid
        If the file cannot be read or is no such network; one sentence.
    """
    layout, learned = _read(path)
    return StoredNetwork(path, layout, learned)


def _read(path: Path) -> tuple[StoredLayout, list[dict[str, Tensor]]]:
    """What a file holds, and what each of its networks has learned."""
    try:
        with open(open_plain(path), "rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                return _read_own(file.fileno(), path)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    checkpoint = read_checkpoint(path)
    return StoredLayout(1, checkpoint.base, "batch"), [_as_learned(checkpoint.state)]


def _read_own(descriptor: int, path: Path) -> tuple[StoredLayout, list[dict[str, Tensor]]]:
    try:
        stored = TensorFile(descriptor, _MAX_HEADER_BYTES)
        few = {name: stored.read(name) for name in stored.names if stored.size_of(name) <= _FEW_BYTES}
    except ValueError as error:
        raise InputInvalid(
            f"{path}: is no whole network file (.safetensors of a correction, or .pt of spIsoNet)"
        ) from error
    try:
        layout = stored_layout(few)
    except ValueError as error:
        raise InputInvalid(f"{path}: is no network of a correction") from error
    wanted = [[name for name in stored.names if name.startswith(_prefixes(index))] for index in range(layout.networks)]
    size = sum(stored.size_of(name) for names in wanted for name in names)
    if size > MAX_NETWORK_BYTES:
        raise InputInvalid(
            f"{path}: holds {size} bytes of weights; no network of more than {MAX_NETWORK_BYTES} is read"
        )
    try:
        return layout, [_learned({name: stored.read(name) for name in names}, i) for i, names in enumerate(wanted)]
    except ValueError as error:
        raise InputInvalid(f"{path}: {error}; another program is writing to it") from error


def _prefixes(index: int) -> tuple[str, ...]:
    """How the names begin of what a network has learned."""
    return tuple(f"{index}.{part}" for part in _LEARNED)


def _check_options(path: Path, layout: StoredLayout, options: CorrectionOptions) -> None:
    wanted = 2 if options.mode == "independent" else 1
    if layout.see_mask != options.see_mask:
        sees = "sees" if layout.see_mask else "does not see"
        raise InputInvalid(
            f"{path}: is a network that {sees} the mask; choose 'see_mask: {str(layout.see_mask).lower()}'"
        )
    if (layout.base_width, layout.norm) != (options.base_width, options.norm):
        preset = {width: name for name, width in BASE_WIDTH.items()}.get(layout.base_width, f"of {layout.base_width}")
        raise InputInvalid(
            f"{path}: is a network of preset {preset} and norm {layout.norm}, the options have preset "
            f"{options.preset} and norm {options.norm}; choose 'preset: {preset}' and 'norm: {layout.norm}'"
        )
    if layout.networks > wanted:
        raise InputInvalid(f"{path}: holds one network for each half-map; choose 'mode: independent'")


def _learned(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"{index}."
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    found = {name: value.float() for name, value in own.items() if name.startswith(_LEARNED)}
    if any(name.startswith(_LEARNED[1]) for name in found):
        return found
    return _as_learned({name.removeprefix(_LEARNED[0]): value for name, value in found.items()})


def _as_learned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that were never averaged are their own average."""
    return {prefix + name: value for name, value in state.items() for prefix in _LEARNED}


def _load(path: Path, learner: Learner, learned: Mapping[str, Tensor]) -> None:
    try:
        learner.load_tensors(learned)
    except ValueError as error:
        raise InputInvalid(f"{path}: is a damaged network file ({error})") from error
