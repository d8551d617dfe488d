"""What a published network is made of: sizes and choices, as plain values that are stored with its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

EncoderKind = Literal["resid", "mlp", "conv", "tilt", "series", "table", "none"]
EncodingKind = Literal["gaussian", "geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf", "none"]
Domain = Literal["fourier", "hartley"]
Activation = Literal["relu", "leaky_relu"]


@dataclass(frozen=True)
class NetworkShape:
    """Sizes and choices of a network.

    Attributes
    ----------
    box
        Pixels along a side of its images, and voxels of its volumes.
    zdim
        Numbers of a latent; 0 for one volume.
    encoder
        What finds latents of images. resid, mlp: layers on Fourier pixels; conv: convolutions in real space on 64
        pixels; tilt: two images of an object; series: several; table: latents are learned one by one, and no image
        is looked at; none: there are no latents, or they are known from elsewhere.
    encoder_layers, encoder_width
        Hidden layers and their width.
    encoder_radius
        Fourier pixels that the encoder sees, in cycles per box.
    decoder_layers, decoder_width
        Hidden layers and their width.
    encoding
        Of positions, see `encodings`.
    encoding_count
        Frequencies of the encoding.
    feature_sigma
        Spread of the frequencies of `gaussian`, a share of half the box.
    domain
        Of the decoder's values.
    activation
        After each layer.
    tilts
        Images of an object, where the encoder is of several.
    tilt_layers, tilt_width, tilt_embedding
        Of the part of the encoder that joins the images: hidden layers, their width, numbers kept of each image.
    """

    box: int
    zdim: int
    encoder: EncoderKind
    encoder_layers: int
    encoder_width: int
    encoder_radius: float
    decoder_layers: int
    decoder_width: int
    encoding: EncodingKind
    encoding_count: int
    feature_sigma: float
    domain: Domain
    activation: Activation
    tilts: int = 1
    tilt_layers: int = 3
    tilt_width: int = 1024
    tilt_embedding: int = 64

    def as_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        """What `as_json` gave.

        Raises
        ------
        ValueError
            If a value is missing, unknown, of another sort, or out of bounds.
        """
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"the network's description lacks or adds {', '.join(sorted(expected ^ set(values)))}")
        choices: dict[str, Any] = {
            "encoder": EncoderKind,
            "encoding": EncodingKind,
            "domain": Domain,
            "activation": Activation,
        }
        for name, value in values.items():
            if name in choices:
                try:
                    TypeAdapter(choices[name]).validate_python(value)
                except ValidationError as error:
                    raise ValueError(f"the network's {name} is {value!r}, which is none of its choices") from error
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
                raise ValueError(f"the network's {name} is {value!r}, not a number from 0 to {_MOST}")
        return cls(**values)


_MOST = 1 << 16
