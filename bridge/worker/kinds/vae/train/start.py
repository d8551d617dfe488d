"""What the network of the fast method begins with: consensus, linear model, scores of all images."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core.latent import FilmModel, FilmNetwork, FilmShape, LinearModel, feature_places
from cryobridge.core.subspace import Consensus, SeenImages, Subspace, SubspaceFit, consensus_of, shell_means
from cryobridge.core.training import Parking, generator_at

from ....heterogeneity.image_source import ImageSource
from ....loop import Progress

FITTED_IMAGES = 20_000
"""As many are enough for a consensus and a few modes of low frequencies; the scores are of all images."""
MOST_MODES = 8
_IMAGES_AT_ONCE = 1024
_SOME, _PLACES = 11, 12


@dataclass(frozen=True)
class Start:
    """What a network is trained on.

    Attributes
    ----------
    images
        All of them.
    linear
        The linear model, on the device.
    scores
        (N, modes) of all images, on the device.
    noise
        (S + 1,) variance by shell of the real and imaginary parts of spectra.
    shape
        Of the network.
    scale
        Deviation of a coefficient from the consensus, where it is largest.
    seed
        Of the linear model.
    """

    images: ImageSource
    linear: LinearModel
    scores: Tensor
    noise: Tensor
    shape: FilmShape
    scale: float
    seed: int

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.scores.device

    @property
    def consensus(self) -> Tensor:
        """(n, n, n) in z, y, x."""
        return self.linear.consensus

    def network(self, seed: int) -> FilmNetwork:
        """An untrained network."""
        places = feature_places(self.consensus, self.shape.features, generator_at(seed, _PLACES))
        return FilmNetwork.new(self.shape, places, self.scale, seed)

    def model(self, network: FilmNetwork) -> FilmModel:
        """The model with a trained network."""
        return FilmModel(network, self.linear, self.consensus, self.images.pixel_size_A)

    def held(self) -> Iterator[Tensor]:
        """Every tensor on the device."""
        yield from self.images.held()
        yield from self.linear.held()
        yield from (self.scores, self.noise)


def start_of(
    images: ImageSource,
    *,
    zdim: int,
    linear_radius: float,
    radius: float,
    seed: int,
    device: torch.device,
    parking: Parking,
) -> Generator[Progress | None, None, Start]:
    """Find the consensus, the linear model and the scores; progress goes from 0 to 1.

    Parameters
    ----------
    linear_radius, radius
        Bands of the linear model and of the network, in cycles per box.
    """
    with parking.holding(images.held):
        some = _some(images, seed, device)
        yield Progress("finding the consensus", 0.0)
        consensus, residuals = consensus_of(some)
        held = [consensus.volume, consensus.noise, consensus.prior_power, residuals, some.spectra, some.ctf]
        with parking.holding(lambda: held):
            modes = max(1, min(zdim, MOST_MODES))
            fit = SubspaceFit(some.with_spectra(residuals), linear_radius, consensus.prior_power)
            found: Subspace | None = None
            for number, found in enumerate(fit.steps(modes, seed=seed), 1):  # noqa: B007 - the last is used below
                yield Progress(f"linear subspace of {modes} modes, iteration {number}", 0.2 + 0.1 * number)
    if found is None:
        raise ValueError("the linear subspace took no step")
    linear = LinearModel.of(consensus, found, images.pixel_size_A)
    scores = torch.empty(len(images), modes, device=device)
    for part in images.iterate(_IMAGES_AT_ONCE):
        scores[part.members], _ = linear.encode(part.spectra, part.ctf, part.rotations)
        yield Progress("scores of all images", 0.9)
    noise = consensus.noise.clone()
    noise[: len(found.noise)] = found.noise
    shape = FilmShape(zdim=zdim, modes=modes, box=images.box, radius=radius)
    return Start(images, linear, scores, noise, shape, _scale(some, consensus, found), seed)


def _some(images: ImageSource, seed: int, device: torch.device) -> SeenImages:
    """The images that the linear model is fitted on: all, or a random part of very many."""
    count = len(images)
    if count <= FITTED_IMAGES:
        members = torch.arange(count, device=device)
    else:
        drawn = torch.randperm(count, generator=generator_at(seed, _SOME))[:FITTED_IMAGES]
        members = drawn.sort().values.to(device)
    shown = images.of(members)
    return SeenImages(images.disc, shown.spectra, shown.ctf, shown.rotations)


def _scale(images: SeenImages, consensus: Consensus, subspace: Subspace) -> float:
    """Deviation of a coefficient: by how much the modes lower the variance of residuals, where they do most."""
    shells = len(subspace.noise)
    seen = shell_means(images.ctf.square().mean(dim=0), images.disc)[:shells]
    excess = (consensus.noise[:shells] - subspace.noise) / seen.clamp_min(1e-3)
    return float(excess[1:].max().clamp_min(1e-6 * consensus.noise[1:].mean()).sqrt())
