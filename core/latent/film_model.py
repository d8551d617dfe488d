"""A linear model and a network that begins with it: volumes of latents, and latents of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..particles import half_disc
from ..subspace import Parts, whole
from ..training import initialised_from
from .film import FilmDecoder
from .linear import LinearModel
from .mode_mixing import ModeMixing
from .model import Description, VolumeModel, expect_held, model_of, register
from .warm_encoder import WarmEncoder

FILM = "film"
_NETWORK, _LINEAR = "network.", "linear."
_POINTS_AT_ONCE = 1 << 16
_IMAGES_AT_ONCE = 4096


@dataclass(frozen=True)
class FilmShape:
    """Sizes of the network.

    zdim, modes
        Numbers of a latent, and scores that it is found from.
    box, radius
        Of the volumes in voxels, and of the band that the network knows, in cycles per box.
    features, width, layers, encoder_width
        Of the network.
    """

    zdim: int
    modes: int
    box: int
    radius: float
    features: int = 96
    width: int = 128
    layers: int = 3
    encoder_width: int = 64


class FilmNetwork(nn.Module):
    """Encoder and decoder, trained as one."""

    def __init__(self, shape: FilmShape, places: Tensor, scale: float) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = WarmEncoder(shape.modes, shape.zdim, shape.encoder_width)
        self.mixing = ModeMixing(shape.zdim, shape.modes, shape.encoder_width)
        self.decoder = FilmDecoder(places, shape.box, shape.zdim, scale, width=shape.width, layers=shape.layers)

    @classmethod
    def new(cls, shape: FilmShape, places: Tensor, scale: float, seed: int) -> FilmNetwork:
        """An untrained network of a seed, where the places (F, 3) are."""
        with initialised_from(seed):
            network = cls(shape, places.cpu(), scale)
        return network.to(places.device)

    def forward(self, scores: Tensor, draws: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Coefficients (B, M, 2) and amounts of modes (B, modes) of latents drawn, their mean and log variance.

        Parameters
        ----------
        scores
            (B, modes).
        draws
            (B, zdim) standard normal; zeros for the mean latent itself.
        points
            (B, M, 3) in x, y, z, cycles per box.
        """
        with torch.autocast(scores.device.type, enabled=False):
            mean, log_variance = self.encoder(scores)
        z = mean + torch.exp(0.5 * log_variance) * draws
        return self.decoder(z, points), self.mixing(z), mean, log_variance


class FilmModel:
    """What the fast training leaves.

    Parameters
    ----------
    network
        Trained.
    linear
        Whose scores of an image the network's encoder takes, and to whose volumes the decoder's deviations are added.
    """

    name = FILM

    def __init__(self, network: FilmNetwork, linear: LinearModel) -> None:
        self.network = network.eval()
        self.linear = linear

    @property
    def zdim(self) -> int:
        """Numbers of a latent."""
        return self.network.shape.zdim

    @property
    def box(self) -> int:
        """Voxels along a side of its volumes."""
        return self.network.shape.box

    @property
    def voxel_size_A(self) -> float:
        """Of its volumes."""
        return self.linear.voxel_size_A

    def volumes(self, z: Tensor) -> Tensor:
        """Volumes (B, box, box, box) in z, y, x of latents (B, zdim).

        Beyond the band that was trained they are the consensus: there nothing was ever told.
        """
        return whole(self.volumes_in_steps(z))

    def volumes_in_steps(self, z: Tensor) -> Parts[Tensor]:
        """The same volumes (B, box, box, box), one by one."""
        found = self.linear.consensus.new_empty(len(z), *self.linear.consensus.shape)
        for volume, latent in zip(found, z.to(found), strict=True):
            with torch.no_grad():
                volume.copy_(self._linear_part(latent[None]) + self._deviation(latent[None]))
            yield
        return found

    @torch.no_grad()
    def encode(self, spectra: Tensor, ctf: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents of images, (N, zdim) each; see `ImageEncoder`."""
        scores, _ = self.linear.encode(spectra, ctf, rotations)
        return self.of_scores(scores)

    @torch.no_grad()
    def of_scores(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The same of scores (N, modes) of the linear model."""
        found = [self.network.encoder(part) for part in torch.split(scores, _IMAGES_AT_ONCE)]
        return torch.cat([mean for mean, _ in found]), torch.cat([spread for _, spread in found])

    @property
    def reach(self) -> float:
        """Frequencies that the network knows, in cycles per box."""
        return self.network.shape.radius

    @torch.no_grad()
    def slices(self, z: Tensor, points: Tensor) -> Tensor:
        """Spectra (N, M) of latents (N, zdim) at points (N, M, 3), see `SliceModel`."""
        latents = z.to(points)
        deviation = torch.view_as_complex(self.network.decoder(latents, points).contiguous())
        known = points.square().sum(dim=-1) <= self.reach**2
        return self.linear.slices(self.network.mixing(latents), points) + torch.where(known, deviation, 0)

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """What to store: tensors (...,) on the CPU, and the description."""
        shape = self.network.shape
        linear, described = self.linear.stored()
        tensors = {f"{_NETWORK}{name}": value.detach().cpu() for name, value in self.network.state_dict().items()}
        tensors |= {f"{_LINEAR}{name}": value for name, value in linear.items()}
        description: Description = {
            "model": FILM,
            "zdim": shape.zdim,
            "modes": shape.modes,
            "box": shape.box,
            "radius": shape.radius,
            "features": shape.features,
            "width": shape.width,
            "layers": shape.layers,
            "encoder_width": shape.encoder_width,
            "linear": described,
        }
        return tensors, description

    def held(self) -> list[Tensor]:
        """Every tensor (...,) on the device."""
        return [*self.network.parameters(), *self.network.buffers(), *self.linear.held()]

    def _linear_part(self, z: Tensor) -> Tensor:
        volume: Tensor = self.linear.volumes(self.network.mixing(z))[0]
        return volume

    def _deviation(self, z: Tensor) -> Tensor:
        shape = self.network.shape
        box, device = shape.box, self.linear.consensus.device
        whole = int(shape.radius)
        axis = torch.arange(-whole, whole + 1, device=device)
        kz, ky, kx = torch.meshgrid(axis, axis, torch.arange(whole + 1, device=device), indexing="ij")
        squared = kx * kx + ky * ky + kz * kz
        kept = (squared > 0) & (squared <= shape.radius**2)
        kx, ky, kz = kx[kept], ky[kept], kz[kept]
        points = torch.stack([kx, ky, kz], dim=1).float()
        found = torch.cat([self.network.decoder(z, part[None])[0] for part in torch.split(points, _POINTS_AT_ONCE)])
        spectrum = torch.zeros(box, box, box // 2 + 1, dtype=torch.complex64, device=device)
        spectrum[kz % box, ky % box, kx] = torch.view_as_complex(found.contiguous())
        volume: Tensor = torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(box, box, box)))
        return volume


def _film_of(tensors: Mapping[str, Tensor], description: Description) -> VolumeModel:
    sizes = ("zdim", "modes", "box", "features", "width", "layers", "encoder_width")
    given: dict[str, Any] = {one: int(description[one]) for one in sizes}
    shape = FilmShape(radius=float(description["radius"]), **given)
    linear = model_of(_of(tensors, _LINEAR), description["linear"], next(iter(tensors.values())).device)
    if not isinstance(linear, LinearModel) or linear.zdim != shape.modes or linear.box != shape.box:
        raise ValueError(f"its linear model is not of {shape.modes} modes in a box of {shape.box}")
    half_disc(shape.box, shape.radius)
    expect_held(tensors, [*given.values(), shape.layers * shape.width**2, shape.features * shape.width])
    network = FilmNetwork.new(shape, torch.zeros(shape.features, 3, device=linear.consensus.device), 1.0, 0)
    try:
        network.load_state_dict(_of(tensors, _NETWORK))
    except RuntimeError as error:
        raise ValueError(f"its network is not of the sizes it says: {error}") from error
    return FilmModel(network, linear)


def _of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


register(FILM, _film_of)
