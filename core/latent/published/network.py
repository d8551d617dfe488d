"""The published network: images to latents, latents and positions to images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...particles import HalfDisc
from .decoder import CoordinateDecoder
from .encoders import make_encoder
from .learned_rows import LearnedRows
from .pose_table import PoseTable, moved
from .shape import NetworkShape


class PublishedNetwork(nn.Module):
    """An encoder, a decoder, and what is learned of each image beside them.

    Parameters
    ----------
    shape
        Sizes and choices.
    disc
        Fourier pixels of the images; whole but for Nyquist, where an image may have any phase.
    generator
        For random frequencies; the layers draw theirs from torch's own.
    poses
        None where poses are not learned.
    latents
        Those that are learned one by one; None where an encoder finds them, or there are none.
    """

    points: Tensor

    def __init__(
        self,
        shape: NetworkShape,
        disc: HalfDisc,
        generator: torch.Generator,
        poses: PoseTable | None = None,
        latents: LearnedRows | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = make_encoder(shape, disc)
        self.decoder = CoordinateDecoder(shape, generator)
        self.poses = poses
        self.latents = latents
        self.radii = disc.radii
        self.register_buffer("points", disc.points, persistent=False)

    @property
    def disc(self) -> HalfDisc:
        """Of the images, where the network is."""
        return HalfDisc(self.shape.box, self.points, self.radii)

    def encode(self, spectra: Tensor, ctf: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance (B, zdim) of latents of images.

        Parameters
        ----------
        spectra
            (B, T, M, 2) of T images of each object.
        ctf
            (B, T, M); their signs are what the encoder is spared.
        """
        if self.encoder is None:
            nothing = spectra.new_zeros(len(spectra), self.shape.zdim)
            return nothing, nothing
        found = self.encoder(spectra * torch.sign(ctf)[..., None])
        mean, log_variance = found.chunk(2, dim=1)
        return mean, log_variance

    def latents_of(self, spectra: Tensor, ctf: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, of images that are moved first by the shifts that were learned for members (B, T)."""
        if self.poses is not None:
            _, shifts = self.poses(members, torch.zeros_like(members, dtype=torch.bool))
            spectra = moved(spectra, self.disc, shifts)
        return self.encode(spectra, ctf)

    def forward(
        self,
        spectra: Tensor,
        ctf: Tensor,
        rotations: Tensor,
        members: Tensor,
        objects: Tensor,
        noise: Tensor,
        learns: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What images should look like, and what they do.

        Parameters
        ----------
        spectra
            (B, T, M, 2) of T images of each object.
        ctf
            (B, T, M).
        rotations
            (B, T, 3, 3) object to view.
        members
            (B, T) numbers of the images.
        objects
            (B,) numbers of the objects.
        noise
            (B, zdim) of a normal distribution, for the latent that is tried; zeros try the mean.
        learns
            (B,) whether their poses learn in this step.

        Returns
        -------
        Predicted spectra (B, T, M, 2), seen spectra likewise, mean and logarithm of the variance of latents (B, zdim).
        """
        if self.poses is not None:
            rotations, shifts = self.poses(members, learns[:, None].expand_as(members))
            spectra = moved(spectra, self.disc, shifts)
        if self.latents is not None:
            mean = self.latents(objects, torch.ones_like(learns))
            log_variance = torch.zeros_like(mean)
            latents = mean
        else:
            mean, log_variance = self.encode(spectra, ctf)
            # The variance's range is that of float32, whatever the arithmetic of the layers.
            latents = mean + noise * torch.exp(0.5 * log_variance.float())
        images = ctf.shape[1]
        points = (self.points.float() / self.shape.box) @ rotations[..., :2, :].float()
        per_image = latents if images == 1 else latents.repeat_interleave(images, dim=0)
        predicted = self.decoder(points.flatten(0, 1), per_image)
        return predicted.unflatten(0, ctf.shape[:2]) * ctf[..., None], spectra, mean, log_variance
