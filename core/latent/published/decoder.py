"""The spectrum of a volume as a function of a position and a latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .encodings import PositionalEncoding
from .layers import LEAK, HiddenLayers, activation_of
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
        fourier only one half is worked out, that of `half_spectrum_points`; in the domain hartley both are.
        """
        if self.is_hartley:
            both = self.values(torch.cat([points, -points], dim=1), latents)[..., 0]
            here, mate = both.chunk(2, dim=1)
            return torch.stack([0.5 * (here + mate), 0.5 * (mate - here)], dim=-1)
        x, y, z = points.unbind(dim=-1)
        flipped = (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))
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


class DecoderOfPoints:
    """A decoder as it is evaluated at many latents: a `PointDecoder` for points with z <= 0 of a box.

    The skip over a layer is one with it, as x + W x + b = (W + 1) x + b.

    Parameters
    ----------
    decoder
        Trained.
    box
        That points are counted in, as cycles per box.
    """

    def __init__(self, decoder: CoordinateDecoder, box: int) -> None:
        self._decoder = decoder
        self._box = box
        same = torch.eye(self.width, device=decoder.of_position.weight.device)
        self._hidden = [
            ((layer.weight.detach() + same).T.contiguous(), layer.bias.detach()) for layer in decoder.hidden.linears
        ]
        self._slope = 0.0 if isinstance(decoder.activation, nn.ReLU) else LEAK
        self._kept = torch.empty(2, 0, self.width)

    @property
    def width(self) -> int:
        """Numbers that it holds for a point."""
        return self._decoder.of_position.out_features

    def prepared(self, points: Tensor) -> Tensor:
        """The first layer at points (P, 3), (1, P, width); of the domain hartley at their mates too, (2, P, width)."""
        places = points / self._box
        both = torch.stack([places, -places]) if self._decoder.is_hartley else places[None]
        found: Tensor = self._decoder.of_position(self._decoder.encoding(both))
        return found

    def values(self, prepared: Tensor, z: Tensor) -> Tensor:
        """Spectrum (B, P) complex64 of latents (B, zdim)."""
        decoder = self._decoder
        latent = z.new_zeros(1, 1, 1, 1) if decoder.of_latent is None else decoder.of_latent(z)[:, None, None]
        shape = (len(latent), *prepared.shape)
        here, there = self._room(math.prod(shape[:-1]), prepared.device)
        here = torch.add(prepared, latent, out=None if here is None else here.view(shape)).flatten(0, -2)
        self._activated(here)
        for weight, bias in self._hidden:
            found = self._activated(torch.addmm(bias, here, weight, out=there))
            here, there = found, None if there is None else here
        last = decoder.last(here).float().view(*shape[:-1], -1)
        if decoder.is_hartley:
            here, mate = last[..., 0].unbind(dim=1)
            return torch.complex(0.5 * (here + mate), 0.5 * (mate - here)).expand(len(z), -1)
        return torch.view_as_complex(last[:, 0].contiguous()).expand(len(z), -1)

    def _room(self, rows: int, device: torch.device) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Two arrays (rows, width) for what comes in and out of a layer, the same each time so that caches hold them.

        None on a GPU, which keeps memory by itself, and where the number format of a layer is not known before.
        """
        if device.type != "cpu":
            return None, None
        if self._kept.shape[1] < rows:
            self._kept = torch.empty(2, rows, self.width)
        first, second = self._kept[:, :rows].unbind()
        return first, second

    def _activated(self, values: Tensor) -> Tensor:
        """The activation in place: what is worked out here is needed once, and memory is what takes the time."""
        if self._slope:
            return nn.functional.leaky_relu_(values, self._slope)
        return values.relu_()
