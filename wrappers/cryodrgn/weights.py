"""The weights of cryoDRGN's networks by our names, and back.

The networks do the same arithmetic; what differs are names, the order of Fourier pixels and of features, and that the
decoder's first layer is one there and two here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cryobridge.core.latent import published, whole_disc

from .lattice import columns_for, lattice_points, to_disc, to_lattice

_FIRST = re.compile(r"(?P<prefix>(?:.*\.)?main\.)0\.weight")
_WEIGHT_AND_BIAS = ("weight", "bias")
_DECODER = "decoder.decoder.main."
_DECODER_ALONE = "decoder.main."
_ENCODER = "encoder.main."
_FREQUENCIES = "rand_freqs"


@dataclass(frozen=True)
class NamedWeights:
    """Tensors by our names, and the shape of the network that they are of."""

    tensors: dict[str, Tensor]
    shape: published.NetworkShape


def ours_of(state: Mapping[str, Tensor], shape: published.NetworkShape, encoder_radius: float | None) -> NamedWeights:
    """Name weights of cryoDRGN as ours are named.

    Parameters
    ----------
    state
        By its names.
    shape
        As its configuration says; layers and widths are taken from the weights.
    encoder_radius
        Of the Fourier pixels that the encoder sees; None where the encoder is of a sort that is not opened. Then the
        network is without one.

    Raises
    ------
    ValueError
        If there is no decoder, or its layers do not fit.
    """
    decoder, layers, width = _decoder(state, shape)
    encoder, seen = _encoder(state, shape, encoder_radius) if encoder_radius is not None else ({}, shape)
    kept = seen if encoder else replace(shape, encoder="none")
    return NamedWeights(decoder | encoder, replace(kept, decoder_layers=layers, decoder_width=width))


def theirs_of(tensors: Mapping[str, Tensor], shape: published.NetworkShape) -> dict[str, Tensor]:
    """Name our weights as cryoDRGN names them.

    Raises
    ------
    ValueError
        If it has no network of this sort.
    """
    if shape.encoder not in ("resid", "mlp", "none"):
        raise ValueError(f"cryoDRGN opens no network with an encoder '{shape.encoder}'")
    prefix = _DECODER if shape.encoding != "none" and shape.zdim else _DECODER_ALONE
    features = tensors["decoder.of_position.weight"]
    order = _order_of_features(shape, features.shape[1])
    first = torch.empty_like(features)
    first[:, order] = features
    found = {}
    if shape.encoding == "gaussian":
        name = f"decoder.{_FREQUENCIES}" if shape.zdim else _FREQUENCIES
        found[name] = tensors["decoder.encoding.vectors"] / (shape.box // 2)
    if shape.zdim:
        first = torch.cat([first, tensors["decoder.of_latent.weight"]], dim=1)
    found[f"{prefix}0.weight"] = first
    found[f"{prefix}0.bias"] = tensors["decoder.of_position.bias"]
    for theirs, ours in _layer_names(shape.decoder_layers, "decoder.", prefix, skips=True):
        found[theirs] = tensors[ours]
    if shape.encoder != "none" and shape.zdim:
        found |= _their_encoder(tensors, shape)
    return found


def _decoder(state: Mapping[str, Tensor], shape: published.NetworkShape) -> tuple[dict[str, Tensor], int, int]:
    prefixes = [
        match["prefix"]
        for name in state
        if (match := _FIRST.fullmatch(name)) is not None and not name.startswith("encoder")
    ]
    if len(prefixes) != 1:
        raise ValueError("it holds no decoder of coordinates that is known here")
    prefix = prefixes[0]
    first = state[f"{prefix}0.weight"]
    layers = sum(name.startswith(prefix) and name.endswith(".linear.weight") for name in state)
    width = first.shape[1] - shape.zdim
    order = _order_of_features(shape, width)
    found = {
        "decoder.of_position.weight": first[:, order],
        "decoder.of_position.bias": state[f"{prefix}0.bias"],
        "decoder.encoding.vectors": _vectors(state, shape),
    }
    if shape.zdim:
        found["decoder.of_latent.weight"] = first[:, width:]
    for theirs, ours in _layer_names(layers, "decoder.", prefix, skips=True):
        found[ours] = state[theirs]
    return {name: value.float().contiguous() for name, value in found.items()}, layers, first.shape[0]


def _vectors(state: Mapping[str, Tensor], shape: published.NetworkShape) -> Tensor:
    """The encoding's vectors; random ones are stored as shares of half the box."""
    if shape.encoding == "gaussian":
        stored = next((value for name, value in state.items() if name.split(".")[-1] == _FREQUENCIES), None)
        if stored is None:
            raise ValueError("it holds no frequencies of its gaussian encoding")
        return stored * (shape.box // 2)
    return published.PositionalEncoding.of(shape, torch.Generator()).vectors


def _order_of_features(shape: published.NetworkShape, width: int) -> Tensor:
    """Which of their features each of ours is: sines and cosines of one axis after the other, against all sines first.

    Those of random vectors, and positions as they are, are in one order in both.
    """
    if shape.encoding in ("gaussian", "none"):
        return torch.arange(width)
    per_axis = width // 6
    return torch.arange(width).view(3, 2, per_axis).transpose(0, 1).reshape(-1)


def _encoder(
    state: Mapping[str, Tensor], shape: published.NetworkShape, radius: float
) -> tuple[dict[str, Tensor], published.NetworkShape]:
    """The encoder, and the shape with it; nothing where it is of another sort or sees other pixels."""
    first = state.get(f"{_ENCODER}0.weight")
    lattice = lattice_points(shape.box, radius)
    if first is None or shape.encoder not in ("resid", "mlp") or first.shape[1] != len(lattice):
        return {}, shape
    skips = shape.encoder == "resid"
    hidden = ".linear.weight" if skips else ".weight"
    layers = sum(name.startswith(_ENCODER) and name.endswith(hidden) for name in state) - (0 if skips else 2)
    reach = min(float((lattice**2).sum(axis=1).max() ** 0.5), radius)
    disc = whole_disc(shape.box)
    count = 2 * disc.count_within(reach)
    found = {
        "encoder.layers.first.weight": to_disc(first, columns_for(disc.within(reach), lattice), count),
        "encoder.layers.first.bias": state[f"{_ENCODER}0.bias"],
    }
    for theirs, ours in _layer_names(layers, "encoder.layers.", _ENCODER, skips=skips):
        found[ours] = state[theirs]
    seen = replace(shape, encoder_layers=layers, encoder_width=first.shape[0], encoder_radius=reach)
    return {name: value.float().contiguous() for name, value in found.items()}, seen


def _their_encoder(tensors: Mapping[str, Tensor], shape: published.NetworkShape) -> dict[str, Tensor]:
    lattice = lattice_points(shape.box, peer_radius(shape))
    columns = columns_for(whole_disc(shape.box).within(shape.encoder_radius), lattice)
    found = {
        f"{_ENCODER}0.weight": to_lattice(tensors["encoder.layers.first.weight"], columns),
        f"{_ENCODER}0.bias": tensors["encoder.layers.first.bias"],
    }
    skips = shape.encoder == "resid"
    for theirs, ours in _layer_names(shape.encoder_layers, "encoder.layers.", _ENCODER, skips=skips):
        found[theirs] = tensors[ours]
    return found


def peer_radius(shape: published.NetworkShape) -> int:
    """The whole radius of pixels that cryoDRGN's encoder is to see for it to see all of ours."""
    return min(-int(-shape.encoder_radius // 1), shape.box // 2)


def _layer_names(layers: int, ours: str, theirs: str, *, skips: bool) -> Iterator[tuple[str, str]]:
    """Their name and ours of each weight and bias of hidden layers and of the last one."""
    for kind in _WEIGHT_AND_BIAS:
        for number in range(layers):
            within = "linear." if skips else ""
            yield f"{theirs}{2 * number + 2}.{within}{kind}", f"{ours}hidden.layers.{number}.{kind}"
        yield f"{theirs}{2 * layers + 2}.{kind}", f"{ours}last.{kind}"
