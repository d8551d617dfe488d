"""Volumes of a network of positions in Fourier space, and latents of images by its encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from ..particles import HalfDisc, half_disc
from .model import Description, VolumeModel, register
from .published import NetworkShape, PublishedNetwork

NAME = "coordinate"
_SHAPE, _VOXEL, _NORM, _SCALE, _CORNERS = "network", "voxel_size_A", "norm", "scale", "corners"
_POINTS_AT_ONCE = 1 << 16
_IMAGES_AT_ONCE = 256


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
        device, box = self._device, self.box
        points = _half_of_spectrum(box, device, corners=self.corners)
        latents = z.to(device, torch.float32)
        values = torch.zeros(len(latents), box, box, box, device=device)
        for part in torch.split(points, max(1, _POINTS_AT_ONCE // max(len(latents), 1))):
            spectra = self.network.decoder((part.float() / box)[None], latents)
            real, imaginary = spectra[..., 0], spectra[..., 1]
            # The origin is its own mate, and is real.
            _place(values, -part, real + imaginary)
            _place(values, part, real - imaginary)
        volumes: Tensor = _inverse_hartley(values) * self.norm
        return volumes

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

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """What to store: tensors on the CPU, and the description."""
        tensors = {
            name: value.detach().cpu()
            for name, value in self.network.state_dict().items()
            if name.split(".")[0] in ("encoder", "decoder")
        }
        numbers = {_VOXEL: self.voxel_size_A, _NORM: self.norm, _SCALE: self.scale, _CORNERS: self.corners}
        return tensors, {"model": NAME, _SHAPE: self.shape.as_json(), **numbers}

    def held(self) -> list[Tensor]:
        """Every tensor on the device."""
        return [*self.network.parameters(), *self.network.buffers()]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], description: Description) -> Self:
        """What `stored` gave, on the tensors' device.

        Raises
        ------
        ValueError
            If a tensor or a value is missing, or does not fit.
        """
        shape = NetworkShape.of_json(dict(description[_SHAPE]))
        voxel_size_A, norm, scale = (float(description[key]) for key in (_VOXEL, _NORM, _SCALE))
        if not min(voxel_size_A, norm, scale) > 0:
            raise ValueError(f"its voxel size, norm and scale are {voxel_size_A}, {norm}, {scale}, not all above 0")
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


def _half_of_spectrum(box: int, device: torch.device, *, corners: bool) -> Tensor:
    """Whole frequencies (P, 3) in x, y, z of which all others of a real volume's spectrum are mates, and the origin.

    Those with z < 0, or z = 0 and y < 0, or z = y = 0 and x <= 0; without corners, none farther than Nyquist, where
    rounding decides of those at Nyquist as it does for cryoDRGN.
    """
    half = box // 2
    axis = torch.arange(-half, half + 1, device=device)
    z, y, x = torch.meshgrid(axis[: half + 1], axis, axis, indexing="ij")
    kept = (z < 0) | (y < 0) | ((y == 0) & (x <= 0))
    if not corners:
        squares = (axis.double() / box).float() ** 2
        squared = squares[None, None] + squares[None, :, None] + squares[: half + 1, None, None]
        kept &= squared <= 0.25
    return torch.stack([x, y, z], dim=-1)[kept]


def _place(values: Tensor, points: Tensor, found: Tensor) -> None:
    """Put values (B, P) at whole frequencies (P, 3) into spectra (B, n, n, n) whose origin is their centre.

    Frequencies of n/2 lie beyond the last voxel, and are left out.
    """
    side = values.shape[-1]
    places = points + side // 2
    within = ((places >= 0) & (places < side)).all(dim=1)
    x, y, z = places[within].unbind(dim=1)
    values[:, z, y, x] = found[:, within].to(values.dtype)


def _inverse_hartley(values: Tensor) -> Tensor:
    """Real volumes (B, n, n, n) of Hartley transforms, both with their origin at the centre."""
    axes = (1, 2, 3)
    full = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(values, dim=axes), dim=axes), dim=axes)
    found: Tensor = (full.real - full.imag) / values[0].numel()
    return found


def _padded(values: Tensor, count: int) -> Tensor:
    """Values (N, M, ...) for so many pixels: cut, or filled up with zeros."""
    missing = values.new_zeros(len(values), max(0, count - values.shape[1]), *values.shape[2:])
    return torch.cat([values[:, :count], missing], dim=1)


def _of(tensors: Mapping[str, Tensor], description: Description) -> VolumeModel:
    return CoordinateModel.of(tensors, description)


register(NAME, _of)
