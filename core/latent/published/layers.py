"""Fully connected layers with skips, as encoders and decoders have them."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from .shape import Activation

LEAK = 0.01
"""Slope of a leaky activation below 0."""


def activation_of(name: Activation) -> nn.Module:
    """The function after a layer."""
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(LEAK)


class HiddenLayers(nn.Module):
    """Hidden layers of one width, each with its activation.

    Parameters
    ----------
    width
        Of each.
    count
        How many.
    skips
        Whether what goes into a layer is added to what comes out, before the activation.
    """

    def __init__(self, width: int, count: int, activation: Activation, *, skips: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.activation = activation_of(activation)
        self.skips = skips

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, without skips and activations."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., width) after all layers."""
        for layer in self.layers:
            found = layer(values)
            values = self.activation(found + values if self.skips else found)
        return values


class LayerStack(nn.Module):
    """A layer into the hidden width, hidden layers, and a layer out."""

    def __init__(
        self, inputs: int, width: int, count: int, outputs: int, activation: Activation, *, skips: bool
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.activation = activation_of(activation)
        self.hidden = HiddenLayers(width, count, activation, skips=skips)
        self.last = nn.Linear(width, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., outputs) of (..., inputs)."""
        found: Tensor = self.last(self.hidden(self.activation(self.first(values))))
        return found


class ImageConvolutions(nn.Module):
    """Convolutions that halve an image of 64 pixels to one number each: kernels of 4, steps of 2.

    Source: the discriminator of Radford et al. 2016, ICLR (arXiv 1511.06434), without batch normalisation.
    """

    side = 64

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        channels = (1, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, outputs, 4, 1, 0))

    def forward(self, images: Tensor) -> Tensor:
        """Numbers (N, outputs) of images (N, 64, 64)."""
        found: Tensor = self.layers(images[:, None])
        return found.flatten(1)
