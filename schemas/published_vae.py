"""Options of the published method of `vae.train`: cryoDRGN's network, its loss, and the poses learned beside it."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from .memory import VOXEL_BYTES
from .tilt_series import TiltSeriesOptions

Encoder = Literal["resid", "mlp", "conv", "tilt", "series", "table"]


def _plain_encoder(value: object) -> object:
    """CryoDRGN's names of encoders that it had renamed itself."""
    return {"tiltpair": "tilt", "tiltseries": "series", "convolutional": "conv"}.get(str(value), value)


class PublishedVaeOptions(TiltSeriesOptions):
    """The published method: network, encodings, poses, tilts."""

    encoder: Annotated[Encoder, BeforeValidator(_plain_encoder)] = Field(
        "resid",
        validation_alias=AliasChoices("encoder", "encode_mode"),
        description="published: what finds latents; resid and mlp: layers on Fourier pixels, with and without skips; "
        "conv: convolutions in real space on 64 pixels; tilt: of pairs of images; series: of tilt series; table: "
        "latents are learned one by one, without an encoder",
    )
    encoder_layers: int = Field(
        3,
        ge=1,
        le=32,
        validation_alias=AliasChoices("encoder_layers", "enc_layers", "qlayers"),
        description="published: hidden layers of the encoder",
    )
    encoder_width: int = Field(
        1024,
        ge=8,
        le=4096,
        validation_alias=AliasChoices("encoder_width", "enc_dim", "qdim"),
        description="published: their width",
    )
    encoder_radius: int | None = Field(
        None,
        ge=-1,
        le=256,
        validation_alias=AliasChoices("encoder_radius", "enc_mask"),
        description="published: radius of the Fourier pixels that the encoder sees, in pixels; all if empty or -1",
    )
    decoder_layers: int = Field(
        3,
        ge=1,
        le=32,
        validation_alias=AliasChoices("decoder_layers", "dec_layers", "players"),
        description="published: hidden layers of the decoder",
    )
    decoder_width: int = Field(
        1024,
        ge=8,
        le=4096,
        validation_alias=AliasChoices("decoder_width", "dec_dim", "pdim"),
        description="published: their width",
    )
    encoding: Literal["gaussian", "geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf", "none"] = Field(
        "gaussian",
        validation_alias=AliasChoices("encoding", "pe_type"),
        description="published: frequencies of the positional encoding",
    )
    encoding_count: int | None = Field(
        None,
        ge=2,
        le=512,
        validation_alias=AliasChoices("encoding_count", "pe_dim"),
        description="published: how many there are along each axis; half the box if empty",
    )
    feature_sigma: float = Field(
        0.5,
        gt=0,
        le=10,
        validation_alias=AliasChoices("feature_sigma", "feat_sigma"),
        description="published: spread of gaussian frequencies, in halves of the box",
    )
    domain: Literal["fourier", "hartley"] = Field(
        "fourier", description="published: what the decoder's values are of; poses are learned with either"
    )
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="published: function after each layer")
    learn_poses: bool = Field(
        False,
        validation_alias=AliasChoices("learn_poses", "do_pose_sgd"),
        description="published: learn poses and shifts beside the network",
    )
    pose_rest: int = Field(
        1,
        ge=0,
        validation_alias=AliasChoices("pose_rest", "pretrain"),
        description="published: passes over the particles before poses are learned",
    )
    pose_embedding: Literal["quat", "s2s2"] = Field(
        "quat",
        validation_alias=AliasChoices("pose_embedding", "emb_type"),
        description="published: numbers that stand for a rotation while it is learned: quaternions, or two vectors",
    )
    pose_rate: float = Field(
        3e-4,
        gt=0,
        le=1,
        validation_alias=AliasChoices("pose_rate", "pose_lr"),
        description="published: learning rate of poses and shifts",
    )
    tilt_deg: float = Field(
        45.0,
        gt=-90,
        lt=90,
        description="published, encoder tilt: angle about x by which the second images are tilted",
    )
    tilts: int = Field(
        10,
        ge=2,
        le=120,
        validation_alias=AliasChoices("tilts", "ntilts"),
        description="published, encoder series: images of each object",
    )
    tilt_embedding: int = Field(
        64,
        ge=1,
        le=4096,
        validation_alias=AliasChoices("tilt_embedding", "t_emb_dim"),
        description="published, encoder series: numbers kept of each image",
    )
    tilt_layers: int = Field(
        3,
        ge=1,
        le=32,
        validation_alias=AliasChoices("tilt_layers", "tlayers"),
        description="published, encoder series: hidden layers that join the images of an object",
    )
    tilt_width: int = Field(
        1024,
        ge=8,
        le=4096,
        validation_alias=AliasChoices("tilt_width", "tdim"),
        description="published, encoder series: their width",
    )
    real_space: bool = Field(
        False,
        validation_alias=AliasChoices("real_space", "use_real"),
        description="published: the encoder sees images in real space; only with encoder conv, which always does",
    )

    def network_bytes(self, box: int, batch: int) -> int:
        """Memory of a training step: what the decoder keeps for a gradient at half of each image's Fourier pixels.

        Features twice, each layer before and after its activation; weights and their moments beside them.
        """
        pixels = math.pi / 8 * box**2 * (2 if self.domain == "hartley" else 1)
        images = self.tilts if self.encoder == "series" else 2 if self.encoder == "tilt" else 1
        features = 6 * (self.encoding_count or box // 2)
        kept = 2 * features + 2 * (self.decoder_layers + 2) * self.decoder_width
        weights = self.encoder_width * (math.pi / 4 * box**2 + self.encoder_layers * self.encoder_width)
        weights += self.decoder_width * (features + self.decoder_layers * self.decoder_width)
        return int(VOXEL_BYTES * (batch * images * pixels * kept + 5 * weights))

    @model_validator(mode="after")
    def _real_space_is_of_convolutions(self) -> Self:
        if self.real_space and self.encoder != "conv":
            raise ValueError("'real_space' is of 'encoder: conv'; leave it out, or choose that encoder")
        return self
