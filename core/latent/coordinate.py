"""Volumes of a network of positions in Fourier space, and latents of images by its encoder."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Self

import torch
from torch import Tensor

from ..particles import HalfDisc, half_disc
from ..subspace import whole
from .evaluation import half_spectrum_points, spectra_in_steps, volumes_of_spectra
from .model import Description, VolumeModel, expect_held, register
from .published import DecoderOfPoints, NetworkShape, PublishedNetwork

NAME = "coordinate"
_SHAPE, _VOXEL, _NORM, _SCALE, _CORNERS = "network", "voxel_size_A", "norm", "scale", "corners"
_IMAGES_AT_ONCE = 256
_MOST_BOX = 2048


def whole_disc(box: int) -> HalfDisc:
    """The Fourier pixels of the published method: all below Nyquist. Those at Nyquist, four of a disc, are left out."""
    return half_disc(box, box / 2 - 1e-3)


class CoordinateModel:
    """A trained network of the published method.

    Parameters
    ----------
    network
        On its device; poses and latents learned beside it are not kept.
    voxel_size_A
        Of its volumes.
    norm
        What the transforms of images were divided by before it learned from them; volumes are multiplied with it.
    scale
        What `encode` multiplies spectra with, whose noise has variance 1 in the real and in the imaginary part, so
        that they are as those that it learned from.
    corners
        Whether volumes have what the network says beyond Nyquist, where it learned nothing. Those that cryoDRGN
        decodes in the domain hartley do.
    """

    name = NAME

    def __init__(
        self,
        network: PublishedNetwork,
        voxel_size_A: float,
        *,
        norm: float = 1.0,
        scale: float = 1.0,
        corners: bool = False,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.shape = network.shape
        self.voxel_size_A = voxel_size_A
        self.norm = norm
        self.scale = scale
        self.corners = corners

    @property
    def zdim(self) -> int:
        """Numbers of a latent; 0 for a model of one volume."""
        return self.shape.zdim

    @property
    def box(self) -> int:
        """Voxels along a side of its volumes."""
        return self.shape.box

    @property
    def encodes(self) -> bool:
        """Whether it has an encoder of single images."""
        return self.network.encoder is not None and self.shape.tilts == 1

    @torch.no_grad()
    def volumes(self, z: Tensor) -> Tensor:
        """Volumes (B, box, box, box) in z, y, x of latents (B, zdim); density is positive.

        Half of their spectra is worked out; the other half are its conjugates.
        """
        return whole(self.volumes_in_steps(z))

    def volumes_in_steps(self, z: Tensor) -> Generator[None, None, Tensor]:
        """The same volumes (B, box, box, box), with a rest after every piece of their spectra."""
        latents = z.to(self._device, torch.float32)
        points = half_spectrum_points(self.box, self._device, corners=self.corners)
        spectra = yield from spectra_in_steps(DecoderOfPoints(self.network.decoder, self.box), latents, points)
        return volumes_of_spectra(spectra, points, self.box) * self.norm

    @torch.no_grad()
    def encode(self, spectra: Tensor, ctf: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents of images, (N, zdim) each; see `ImageEncoder`.

        Spectra may end below Nyquist: what they lack counts as zero.

        Raises
        ------
        ValueError
            If the model has no encoder, or one of several images of an object.
        """
        if not self.encodes:
            raise ValueError(
                "this model has no encoder of single images: its latents were learned one by one, or from several "
                "images of an object; train with 'encoder: resid' to encode others"
            )
        count = len(self.network.points)
        found = []
        for first in range(0, len(spectra), _IMAGES_AT_ONCE):
            part = slice(first, first + _IMAGES_AT_ONCE)
            seen = _padded(torch.view_as_real(spectra[part]) * self.scale, count)
            found.append(self.network.encode(seen[:, None], _padded(ctf[part], count)[:, None]))
        return torch.cat([mean for mean, _ in found]), torch.cat([variance for _, variance in found])

    @property
    def reach(self) -> float:
        """Frequencies that it learned, in cycles per box: those below Nyquist."""
        return self.box / 2

    @torch.no_grad()
    def slices(self, z: Tensor, points: Tensor) -> Tensor:
        """Spectra (N, M) of latents (N, zdim) at points (N, M, 3), see `SliceModel`."""
        found = self.network.decoder(points / self.box, z.to(points))
        return torch.view_as_complex(found.contiguous()) / self.scale

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """What to store: tensors on the CPU, of layers (out, in) and (out,), and the description."""
        tensors = {
            name: value.detach().cpu()
            for name, value in self.network.state_dict().items()
            if name.split(".")[0] in ("encoder", "decoder")
        }
        numbers = {_VOXEL: self.voxel_size_A, _NORM: self.norm, _SCALE: self.scale, _CORNERS: self.corners}
        return tensors, {"model": NAME, _SHAPE: self.shape.as_json(), **numbers}

    def held(self) -> list[Tensor]:
        """Every tensor on the device, of any shape (...,)."""
        return [*self.network.parameters(), *self.network.buffers()]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], description: Description) -> Self:
        """What `stored` gave, layers (out, in) and (out,), on the tensors' device.

        Raises
        ------
        ValueError
            If a tensor or a value is missing, or does not fit.
        """
        shape = NetworkShape.of_json(dict(description[_SHAPE]))
        voxel_size_A, norm, scale = (float(description[key]) for key in (_VOXEL, _NORM, _SCALE))
        if not min(voxel_size_A, norm, scale) > 0:
            raise ValueError(f"its voxel size, norm and scale are {voxel_size_A}, {norm}, {scale}, not all above 0")
        if shape.box > _MOST_BOX:
            raise ValueError(f"its box of {shape.box} is larger than {_MOST_BOX}")
        layers = [(shape.decoder_layers, shape.decoder_width)]
        if shape.encoder not in ("table", "none"):
            layers.append((shape.encoder_layers, shape.encoder_width))
        expect_held(tensors, [max(count, width, count * width) for count, width in layers])
        network = PublishedNetwork(shape, whole_disc(shape.box), torch.Generator())
        expected = network.state_dict()
        for name, value in expected.items():
            found = tensors.get(name)
            if found is None or found.shape != value.shape:
                there = "missing" if found is None else tuple(found.shape)
                raise ValueError(f"{name} is {there}, expected {tuple(value.shape)}")
        network.load_state_dict({name: tensors[name] for name in expected})
        device = next(iter(tensors.values())).device
        numbers = {_NORM: norm, _SCALE: scale}
        return cls(network.to(device), voxel_size_A, corners=bool(description[_CORNERS]), **numbers)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def _padded(values: Tensor, count: int) -> Tensor:
    """Values (N, M, ...) for so many pixels: cut, or filled up with zeros."""
    missing = values.new_zeros(len(values), max(0, count - values.shape[1]), *values.shape[2:])
    return torch.cat([values[:, :count], missing], dim=1)


def _of(tensors: Mapping[str, Tensor], description: Description) -> VolumeModel:
    return CoordinateModel.of(tensors, description)


register(NAME, _of)
