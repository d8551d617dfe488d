"""What a correction has learned: one network for both halves, or one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cryobridge.schemas.correction import CorrectionOptions

from ..nets import Norm, UNet3D
from ..training import Learned, Learner, initialised_from

_NORMS: tuple[Norm, ...] = ("batch", "group", "none")
_LAYOUT = "layout"


class CorrectionState(Learned):
    """The networks of a refinement or a job: one in shared mode, one for each half in independent mode."""

    def __init__(self, options: CorrectionOptions, device: torch.device) -> None:
        count = 2 if options.mode == "independent" else 1
        # Networks that start alike could agree on what is in neither half.
        networks = {str(index): _untrained(options, device, 2 * options.seed + index) for index in range(count)}
        super().__init__(networks, options, device)
        self._layout = _layout(options)

    @classmethod
    def new(cls, options: CorrectionOptions, device: torch.device | str) -> Self:
        """An untrained state."""
        return cls(options, torch.device(device))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: CorrectionOptions, device: torch.device | str
    ) -> Self:
        """Put together what `tensors` gave.

        Raises
        ------
        ValueError
            If it is of other options (width, normalisation, mode), incomplete or not finite.
        """
        state = cls(options, torch.device(device))
        layout = tensors.get(_LAYOUT)
        if layout is None or layout.tolist() != state._layout:
            raise ValueError(
                f"stored network: made for {None if layout is None else layout.tolist()} "
                f"(networks, width, normalisation, channels), these options want {state._layout}"
            )
        state.load_tensors(tensors)
        return state

    def tensors(self) -> dict[str, Tensor]:
        """Everything as CPU tensors by name, a copy, with the layout (networks, width, norm, channels)."""
        return {_LAYOUT: torch.tensor(self._layout), **super().tensors()}

    @property
    def learners(self) -> list[Learner]:
        """The networks in the order of the halves that they correct."""
        return list(self.named.values())

    def learner(self, which_half: int) -> Learner:
        """The network that corrects half 1 or 2."""
        if which_half not in (1, 2):
            raise ValueError(f"which_half is 1 or 2, not {which_half}")
        return self.learners[which_half - 1 if len(self.named) == 2 else 0]


class StoredLayout(NamedTuple):
    """What the networks of a stored state are."""

    networks: int
    """1 in shared mode, 2 in independent mode."""
    base_width: int
    norm: Norm
    see_mask: bool = False


def stored_layout(tensors: Mapping[str, Tensor]) -> StoredLayout:
    """Tell from the layout (networks, width, norm, channels) with which options a state was made.

    Raises
    ------
    ValueError
        If they are no state's.
    """
    values = tensors[_LAYOUT].tolist() if _LAYOUT in tensors else None
    match values:
        case [1 | 2 as networks, int(base_width), 0 | 1 | 2 as norm, *channels] if channels in ([], [2]):
            return StoredLayout(int(networks), base_width, _NORMS[int(norm)], see_mask=bool(channels))
    raise ValueError("stored network: what it was made with is missing")


def _layout(options: CorrectionOptions) -> list[int]:
    networks = 2 if options.mode == "independent" else 1
    plain = [networks, options.base_width, _NORMS.index(options.norm)]
    # Networks that were stored before any saw a mask have three numbers.
    return [*plain, 2] if options.see_mask else plain


def _untrained(options: CorrectionOptions, device: torch.device, seed: int) -> UNet3D:
    with initialised_from(seed):
        channels = 2 if options.see_mask else 1
        network = UNet3D(options.base_width, options.norm, options.identity_start, channels=channels)
    # The type stubs know no Module.to with a memory format alone.
    network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network
