"""The spectrum of a volume as a function of a position and a latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .encodings import PositionalEncoding
from .layers import HiddenLayers, activation_of
from .shape import NetworkShape


class CoordinateDecoder(nn.Module):
    """Values of a volume's spectrum at positions, for latents.

    The first layer is two, one for features of the position and one for the latent: the second is worked out once an
    image, and not once a Fourier pixel.
    """

    def __init__(self, shape: NetworkShape, generator: torch.Generator) -> None:
        super().__init__()
        self.encoding = PositionalEncoding.of(shape, generator)
        width = shape.decoder_width
        # The spread of the weights is that of one layer over both.
        joint = nn.Linear(self.encoding.width + shape.zdim, width)
        self.of_position = nn.Linear(self.encoding.width, width)
        self.of_latent = nn.Linear(shape.zdim, width, bias=False) if shape.zdim else None
        with torch.no_grad():
            self.of_position.weight.copy_(joint.weight[:, : self.encoding.width])
            self.of_position.bias.copy_(joint.bias)
            if self.of_latent is not None:
                self.of_latent.weight.copy_(joint.weight[:, self.encoding.width :])
        self.activation = activation_of(shape.activation)
        self.hidden = HiddenLayers(width, shape.decoder_layers, shape.activation, skips=True)
        self.is_hartley = shape.domain == "hartley"
        self.last = nn.Linear(width, 1 if self.is_hartley else 2)

    def forward(self, points: Tensor, latents: Tensor) -> Tensor:
        """Spectra of real volumes.

        Parameters
        ----------
        points
            (B, P, 3) or (1, P, 3) in x, y, z, cycles per pixel.
        latents
            (B, zdim).

        Returns
        -------
        (B, P, 2), real and imaginary parts. Those at a point and at its Friedel mate are conjugates: in the domain
        fourier only the half with z <= 0 is worked out, in the domain hartley both are.
        """
        if self.is_hartley:
            both = self.values(torch.cat([points, -points], dim=1), latents)[..., 0]
            here, mate = both.chunk(2, dim=1)
            return torch.stack([0.5 * (here + mate), 0.5 * (mate - here)], dim=-1)
        flipped = points[..., 2] > 0
        values = self.values(torch.where(flipped[..., None], -points, points), latents)
        sign = torch.where(flipped, -1.0, 1.0).to(values.dtype)
        return torch.stack([values[..., 0], values[..., 1] * sign], dim=-1)

    def values(self, points: Tensor, latents: Tensor) -> Tensor:
        """What the layers give at points as they are: (B, P, 1) of the domain hartley, (B, P, 2) of fourier."""
        hidden = self.of_position(self.encoding(points))
        if self.of_latent is not None:
            hidden = hidden + self.of_latent(latents)[:, None]
        elif len(latents) > len(hidden):
            hidden = hidden.expand(len(latents), -1, -1)
        found: Tensor = self.last(self.hidden(self.activation(hidden)))
        return found
