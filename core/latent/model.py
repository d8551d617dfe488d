"""What every model of heterogeneity is to those who use it: volumes from latents, and latents from images.

A model turns into plain tensors and a description of plain JSON values, and back, so that it is stored without pickles
and opened by whoever has the file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Description = dict[str, Any]
"""Plain JSON values; "model" is the name of the class, as registered."""


class VolumeModel(Protocol):
    """Volumes of a latent."""

    @property
    def name(self) -> str:
        """Under which it is registered."""

    @property
    def zdim(self) -> int:
        """Numbers of a latent; 0 for a model of one volume."""

    @property
    def box(self) -> int:
        """Voxels along a side of its volumes."""

    @property
    def voxel_size_A(self) -> float:
        """Of its volumes."""

    def volumes(self, z: Tensor) -> Tensor:
        """Volumes (B, box, box, box) in z, y, x of latents (B, zdim); density is positive, no gradient is kept."""

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """What to store: tensors (...,) on the CPU, and the description."""

    def held(self) -> list[Tensor]:
        """Every tensor (...,) on the device, to be moved while another needs it."""


@runtime_checkable
class SteppedModel(Protocol):
    """A model whose volumes take so long that others want a turn in between."""

    def volumes_in_steps(self, z: Tensor) -> Generator[None, None, Tensor]:
        """What `volumes` gives of latents (B, zdim), with a rest after every piece of the work."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Latents of images."""

    def encode(self, spectra: Tensor, ctf: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents, (N, zdim) each; no gradient is kept.

        Parameters
        ----------
        spectra
            (N, M) of recentred images, bright on dark, on `half_disc(box)` of the model's box or any band of it that
            holds the model's own.
        ctf
            (N, M) values.
        rotations
            (N, 3, 3) object to view.
        """


@runtime_checkable
class SliceModel(Protocol):
    """What images of a latent are, before the CTF."""

    @property
    def reach(self) -> float:
        """Frequencies that it knows, in cycles per box."""

    def slices(self, z: Tensor, points: Tensor) -> Tensor:
        """Spectra (N, M) complex64 of latents (N, zdim) where pixels lie, (N, M, 3) in x, y, z, cycles per box.

        In the units of spectra whose noise has variance 1 in the real and in the imaginary part, as in training.
        """


def expect_held(tensors: Mapping[str, Tensor], least: Iterable[int]) -> None:
    """Refuse a description whose network would be larger than what was stored, before it is built.

    Parameters
    ----------
    least
        Numbers that parts of the network hold at least.

    Raises
    ------
    ValueError
        If the tensors, (...,) each, hold fewer, or a number is below zero.
    """
    held = sum(value.numel() for value in tensors.values())
    for wanted in least:
        if not 0 <= wanted <= held:
            raise ValueError(f"its description says a network of {wanted} numbers, its tensors hold {held}")


_MODELS: dict[str, Callable[[Mapping[str, Tensor], Description], VolumeModel]] = {}


def register(name: str, make: Callable[[Mapping[str, Tensor], Description], VolumeModel]) -> None:
    """Let `model_of` make models of this name of tensors (...,). Done once, where the class is defined."""
    if name in _MODELS:
        raise ValueError(f"there is a model {name} already")
    _MODELS[name] = make


def model_of(
    tensors: Mapping[str, Tensor], description: Description, device: torch.device | str = "cpu"
) -> VolumeModel:
    """The model that `stored` gave as tensors (...,), on a device; one that encodes images is an `ImageEncoder` too.

    Raises
    ------
    ValueError
        If it is of no model that is known here, or a tensor is missing, of another shape, or not finite.
    """
    if not tensors:
        raise ValueError("it holds no tensors")
    name = description.get("model")
    if name not in _MODELS:
        raise ValueError(f"a model '{name}' is not known here, only {', '.join(sorted(_MODELS))}")
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"tensor {key} of the model is not finite")
    return _MODELS[name]({key: value.to(device) for key, value in tensors.items()}, description)
