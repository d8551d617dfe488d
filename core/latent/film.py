"""A decoder of what the particles of a latent have beyond their consensus, as coefficients of its spectrum.

The features of a point k of the spectrum are sin and cos of 2 pi k.r / box at places r within the particle: what an
object of atoms at these places has in its own spectrum. The latent scales and shifts them (FiLM: Perez et al. 2018,
AAAI, arXiv 1709.07871).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_THRESHOLD = 0.05
_BLUR_VOXELS = 2.0
_SPREAD_VOXELS = 1.5


def feature_places(consensus: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places within a particle, drawn by how dense it is there: (count, 3) in x, y, z, voxels from the centre.

    Parameters
    ----------
    consensus
        (n, n, n) in z, y, x, density positive.
    generator
        On the CPU.
    """
    box = consensus.shape[-1]
    blurred = _blurred(consensus.float(), _BLUR_VOXELS).cpu().flatten()
    shares = torch.sqrt((blurred - _THRESHOLD * blurred.max()).clamp(min=0))
    if not bool(shares.sum() > 0):
        shares = torch.ones_like(shares)
    # Drawn by the running sum: a whole map may have more voxels than torch.multinomial takes.
    running = torch.cumsum(shares.double(), 0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * running[-1]
    chosen = torch.searchsorted(running, drawn).clamp(max=box**3 - 1)
    z, y, x = chosen // box**2, chosen // box % box, chosen % box
    places = torch.stack([x, y, z], dim=1).float() - box // 2
    places += _SPREAD_VOXELS * torch.randn(count, 3, generator=generator)
    return places.to(consensus.device)


class FilmDecoder(nn.Module):
    """Coefficients of the deviation from the consensus.

    Parameters
    ----------
    places
        (F, 3) in x, y, z, voxels from the centre.
    box
        Of the volume, in voxels.
    zdim
        Numbers of a latent.
    scale
        What a coefficient of one is worth.
    width, layers
        Of the network.

    Notes
    -----
    Features and what comes out are in float32 whatever the layers between are computed in.
    """

    places: Tensor
    scale: Tensor

    def __init__(self, places: Tensor, box: int, zdim: int, scale: float, *, width: int, layers: int) -> None:
        super().__init__()
        self.register_buffer("places", places)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self._box = box
        self.first = nn.Linear(2 * places.shape[0], width)
        self.film = nn.Sequential(nn.Linear(zdim, width // 2), nn.SiLU(), nn.Linear(width // 2, 2 * width))
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, 2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Tensor, points: Tensor) -> Tensor:
        """Coefficients, real and imaginary part (B, M, 2).

        Parameters
        ----------
        z
            (B, zdim).
        points
            (B, M, 3) or (1, M, 3) in x, y, z, cycles per box.
        """
        # Of a point and its Friedel mate only one is ever shown; the other is its conjugate.
        mate = torch.where(points[..., :1] < 0, -1.0, 1.0)
        with torch.autocast(points.device.type, enabled=False):
            phase = (points * mate) @ self.places.T * (2 * math.pi / self._box)
            features = torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)
        scale, shift = self.film(z)[:, None].chunk(2, dim=-1)
        seen = nn.functional.silu(self.first(features) * (1 + scale) + shift)
        for layer in self.hidden:
            seen = seen + nn.functional.silu(layer(seen))
        with torch.autocast(points.device.type, enabled=False):
            found = self.last(seen.float()) * self.scale
        return torch.cat([found[..., :1], found[..., 1:] * mate], dim=-1)


def _blurred(volume: Tensor, sigma: float) -> Tensor:
    box = volume.shape[-1]
    along = torch.fft.fftfreq(box, device=volume.device)
    half = torch.fft.rfftfreq(box, device=volume.device)
    squared = along[:, None, None] ** 2 + along[None, :, None] ** 2 + half[None, None, :] ** 2
    spectrum = torch.fft.rfftn(volume) * torch.exp(-2 * (math.pi * sigma) ** 2 * squared)
    blurred: Tensor = torch.fft.irfftn(spectrum, s=volume.shape)
    return blurred
