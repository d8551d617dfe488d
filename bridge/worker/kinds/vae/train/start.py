"""What the network of the fast method begins with: consensus, linear model, scores of all images."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from cryobridge.core.latent import (
    FilmModel,
    FilmNetwork,
    FilmShape,
    LinearModel,
    feature_places,
    joined_scores,
    linear_of,
    train_on_scores,
)
from cryobridge.core.subspace import (
    ITERATIONS,
    Consensus,
    SeenImages,
    Subspace,
    SubspaceFit,
    consensus_in_parts,
    shell_means,
)
from cryobridge.core.training import Parking, Ranks, generator_at
from cryobridge.schemas.errors import CryobridgeError

from ....heterogeneity.fitted_images import fitted_in_steps, members_of, more_in_steps, shown_in_steps, tried_more
from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.reality import SubspaceControls, controls_of, verdict_of, warnings_of
from ....jobs.checkpoint import Checkpoint, Checkpoints
from ....loop import Progress, scaled

FEWEST_MODES, MOST_MODES = 4, 8
"""That are tried first, whatever the numbers of a latent."""
_SIZES = {
    "cpu": {"features": 64, "width": 64, "layers": 2},
    "cuda": {"features": 96, "width": 128, "layers": 3},
}
"""By device: the small one learned as much from 3000 particles, in half the time."""
FEWEST_TESTED = 40
"""Fewer images are too few for controls."""
_IMAGES_AT_ONCE = 1024
_PLACES = 12
_NOISE, _SCALE = "noise_by_shell", "scale"


@dataclass(frozen=True)
class Reality:
    """Whether what varies is real, as the controls of the linear model have it.

    words, reasons, colour
        A verdict, as `Judged` has it.
    doubts
        A sentence for each threshold that was passed.
    metrics
        The numbers that decide.
    junk
        Images that may show no particle, from 0 on.
    """

    words: str
    reasons: list[str]
    colour: Literal["good", "careful", "bad"]
    doubts: list[str]
    metrics: dict[str, float | int | bool]
    junk: list[int]

    @classmethod
    def of(cls, controls: SubspaceControls, members: Tensor, modes: int) -> Reality:
        """What controls on some of the images, members (F,), say, of so many modes in the end."""
        judged = verdict_of(controls, {})
        reasons, doubts = list(judged.reasons), warnings_of(controls, {})
        if modes > len(controls.halves):
            reasons.append(tried_more(len(controls.halves), modes))
        junk = members.cpu()[torch.from_numpy(controls.junk)].tolist()
        return cls(judged.words, reasons, judged.colour, doubts, controls.metrics(), junk)


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
    earlier
        The model whose networks are trained on; None for new ones.
    reality
        What the controls say; None where there were none.
    object_of
        (N,) which object each image shows, from 0 on; None where every image shows its own.
    """

    images: ImageSource
    linear: LinearModel
    scores: Tensor
    noise: Tensor
    shape: FilmShape
    scale: float
    earlier: FilmModel | None = None
    reality: Reality | None = None
    object_of: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.scores.device

    @property
    def consensus(self) -> Tensor:
        """(n, n, n) in z, y, x."""
        return self.linear.consensus

    def network(self, seed: int, beta: float) -> FilmNetwork:
        """The network that a training of this seed begins with, on the device; beta weighs information."""
        places = feature_places(self.consensus, self.shape.features, generator_at(seed, _PLACES))
        network = FilmNetwork.new(self.shape, places.cpu(), self.scale, seed)
        if self.earlier is not None:
            network.load_state_dict(self.earlier.network.state_dict())
        elif self.shape.zdim < self.shape.modes:
            train_on_scores(network, self.scores, self.linear.prior_variance, beta, seed)
        return network.to(self.device)

    def model(self, network: FilmNetwork) -> FilmModel:
        """The model with a trained network."""
        return FilmModel(network, self.linear)

    def held(self) -> Iterator[Tensor]:
        """Every tensor on the device."""
        yield from self.images.held()
        yield from self.linear.held()
        yield from (self.scores, self.noise)


@dataclass(frozen=True)
class Bands:
    """What of the images is used: latents of so many numbers, and reaches in cycles per box.

    linear_radius, radius
        Of the linear model and of the network.
    """

    zdim: int
    linear_radius: float
    radius: float


@dataclass
class Starting:
    """Finds what a network begins with, once: a training that goes on after an interruption begins with the same.

    Parameters
    ----------
    images
        All of them.
    seed
        Of the linear model.
    name
        Of its checkpoint.
    ranks
        Processes that train together; all begin with what the first of them found.
    earlier
        A model whose linear part is kept and whose networks are trained on; None to begin anew.
    tested
        Whether to run the controls.
    object_of
        (N,) which object each image shows, from 0 on; None where every image shows its own.
    """

    images: ImageSource
    bands: Bands
    seed: int
    name: str
    device: torch.device
    checkpoints: Checkpoints
    parking: Parking
    ranks: Ranks
    earlier: FilmModel | None = None
    tested: bool = False
    object_of: Tensor | None = None

    def result(self) -> Generator[Progress | None, None, Start]:
        """Find the consensus, the linear model and the scores; progress goes from 0 to 1."""
        with self.parking.holding(self.images.held):
            kept = self.checkpoints.read(self.name) if self.earlier is None else _of_earlier(self.earlier)
            if kept is None:
                kept = yield from self._found()
                # A full disk costs the chance to go on from it, not the training itself.
                with contextlib.suppress(CryobridgeError):
                    self.checkpoints.write(self.name, kept)
            tensors = {name: value.to(self.device) for name, value in kept.tensors.items()}
            noise, scale = tensors.pop(_NOISE), float(tensors.pop(_SCALE))
            linear = linear_of(tensors, kept.note["linear"])
            told = kept.note.get("reality")
            scores = torch.empty(len(self.images), linear.zdim, device=self.device)
            log_variances = torch.empty_like(scores)
            for part in self.images.iterate(_IMAGES_AT_ONCE):
                found = linear.encode(part.spectra, part.ctf, part.rotations)
                scores[part.members], log_variances[part.members] = found
                yield Progress("scores of all images", 0.9)
        if self.object_of is not None:
            objects = self.object_of.to(self.device)
            scores, _ = joined_scores(scores, log_variances, linear.prior_variance, objects)
        size = decoder_size(self.device, self.earlier)
        shape = FilmShape(self.bands.zdim, linear.zdim, self.images.box, self.bands.radius, **size)
        reality = Reality(**told) if told else None
        return Start(self.images, linear, scores, noise, shape, scale, self.earlier, reality, self.object_of)

    def _found(self) -> Generator[Progress | None, None, Checkpoint]:
        members = members_of(len(self.images), self.seed).to(self.device)
        some = yield from scaled(0.0, 0.05, shown_in_steps(self.images, members))
        yield Progress("finding the consensus", 0.05)
        with self.parking.holding(lambda: [some.spectra, some.ctf, some.rotations]):
            consensus, residuals = yield from consensus_in_parts(some)
        held = [consensus.volume, consensus.noise, consensus.prior_power, residuals, some.spectra, some.ctf]
        with self.parking.holding(lambda: held):
            modes = min(max(self.bands.zdim, FEWEST_MODES), MOST_MODES)
            fit = SubspaceFit(some.with_spectra(residuals), self.bands.linear_radius, consensus.prior_power)
            subspace = yield from scaled(0.1, 0.4, fitted_in_steps(fit, modes, ITERATIONS, self.seed))
            reality: Reality | None = None
            if self.tested and len(self.images) >= FEWEST_TESTED:
                objects = None if self.object_of is None else self.object_of[members.cpu()]
                control = controls_of(some, consensus, fit, subspace, residuals, seed=self.seed, object_of=objects)
                controls = yield from scaled(0.4, 0.7, control)
                more = more_in_steps(fit, subspace, controls.noise, ITERATIONS, self.seed)
                subspace = yield from scaled(0.7, 0.9, more)
                reality = Reality.of(controls, members, subspace.modes)
        noise = consensus.noise.clone()
        noise[: len(subspace.noise)] = subspace.noise
        tensors, description = LinearModel.of(consensus, subspace, self.images.pixel_size_A).stored()
        tensors |= {_NOISE: noise, _SCALE: torch.tensor(_scale(some, consensus, subspace))}
        note = {"linear": description, "reality": None if reality is None else asdict(reality)}
        return Checkpoint(self._agreed(tensors), note)

    def _agreed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the first rank found, on all of them: sums on a GPU differ from run to run, and so do axes."""
        shared = {name: value.to(self.device, copy=True) for name, value in tensors.items()}
        if self.ranks.count > 1:
            for value in shared.values():
                value.mul_(self.ranks.count if self.ranks.index == 0 else 0)
            self.ranks.mean_(list(shared.values()))
        return shared


def decoder_size(device: torch.device, earlier: FilmModel | None) -> dict[str, int]:
    """Features, width and layers of the network's decoder: those of an earlier model, or what is best on a device."""
    size = _SIZES[device.type]
    return size if earlier is None else {name: getattr(earlier.network.shape, name) for name in size}


def _of_earlier(model: FilmModel) -> Checkpoint:
    tensors, description = model.linear.stored()
    known = {_NOISE: tensors["noise"], _SCALE: model.network.decoder.scale.cpu()}
    return Checkpoint(tensors | known, {"linear": description})


def _scale(images: SeenImages, consensus: Consensus, subspace: Subspace) -> float:
    """Deviation of a coefficient: by how much the modes lower the variance of residuals, where they do most."""
    shells = len(subspace.noise)
    seen = shell_means(images.ctf.square().mean(dim=0), images.disc)[:shells]
    excess = (consensus.noise[:shells] - subspace.noise) / seen.clamp_min(1e-3)
    return float(excess[1:].max().clamp_min(1e-6 * consensus.noise[1:].mean()).sqrt())
