"""The task of the fast method: what its losses count, what it leaves out, whom it blames."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from cryobridge.core.latent import NETWORK, FilmNetwork, FilmShape, FilmTask, LinearModel, information_of, kept_out
from cryobridge.core.particles import FourierGrid, HalfDisc, half_disc, slice_points
from cryobridge.core.subspace import BandGrid
from cryobridge.core.training import Learned, generator_at
from cryobridge.schemas.training import TrainingOptions

BOX, COUNT, BATCH = 16, 12, 4
SHAPE = FilmShape(zdim=2, modes=2, box=BOX, radius=4.0, features=6, width=8, layers=1, encoder_width=8)


@dataclass
class Shown:
    members: Tensor
    spectra: Tensor
    ctf: Tensor
    rotations: Tensor


@dataclass
class Images:
    """Images of a volume without noise, or of anything."""

    disc: HalfDisc
    all: Shown

    def __len__(self) -> int:
        return COUNT

    def of(self, members: Tensor) -> Shown:
        return Shown(members, self.all.spectra[members], self.all.ctf[members], self.all.rotations[members])

    def batch(self, seed: int, step: int, size: int) -> Shown:
        number, place = divmod(step, COUNT // size)
        return self.of(torch.randperm(COUNT, generator=generator_at(seed, number))[place * size : (place + 1) * size])

    def held(self) -> list[Tensor]:
        return [self.all.spectra]


def made(consensus: Tensor, held_out: int = 0, noise: float = 1.0, modes: float = 0.0) -> tuple[FilmTask, Images]:
    """A task of images that show the consensus alone, times a CTF of one half."""
    generator = torch.Generator().manual_seed(0)
    disc = half_disc(BOX, 6.0)
    turns = torch.linalg.qr(torch.randn(COUNT, 3, 3, generator=generator))[0]
    ctf = torch.full((COUNT, len(disc)), 0.5)
    spectra = ctf * FourierGrid.of(consensus).sample(slice_points(disc, turns))
    images = Images(disc, Shown(torch.arange(COUNT), spectra, ctf, turns))
    network = FilmNetwork.new(SHAPE, torch.randn(6, 3, generator=generator), 1.0, seed=0)
    learned = Learned({NETWORK: network}, TrainingOptions(), torch.device("cpu"))
    scores = torch.randn(COUNT, 2, generator=generator)
    shells = torch.full((7,), noise)
    table = modes * torch.randn(len(BandGrid(BOX, 3.0)), 4, generator=generator)
    linear = LinearModel(consensus, table, torch.tensor([1.0, 0.5]), shells, 3.0, 3.0)
    return FilmTask(
        learned, SHAPE, images, scores, linear, noise=shells, batch=BATCH, beta=0.5, held_out=held_out, seed=0
    ), images


def consensus() -> Tensor:
    volume = torch.zeros(BOX, BOX, BOX)
    volume[6:10, 7:11, 5:9] = 1.0
    return volume


def test_images_of_the_consensus_have_no_misfit_before_training() -> None:
    task, _ = made(consensus())
    losses = task.losses(NETWORK, task.modules[NETWORK], task.batch(0, 0))
    assert float(losses["data"].detach()) == pytest.approx(0, abs=1e-6)
    assert float(losses["kl"].detach()) > 0


def test_before_training_a_latent_means_what_the_linear_model_says_of_it() -> None:
    task, images = made(consensus(), modes=30.0)
    batch = dict(task.batch(0, 0))
    batch["draws"] = torch.zeros_like(batch["draws"])
    network = task.modules[NETWORK]
    with torch.no_grad():
        z, _ = network.encoder(batch["scores"])  # type: ignore[operator]
        points = slice_points(images.disc.within(3.0), images.all.rotations[images.batch(0, 0, BATCH).members])
        told = (batch["modes"] * z[:, None, None, :]).sum(dim=-1)
        expected = 0.5 * (0.5 * told).square().sum(dim=(1, 2)).mean() / len(images.disc.within(SHAPE.radius))
        found = task.losses(NETWORK, network, batch)["data"]
    assert points.shape[:2] == told.shape[:2]
    assert float(expected) > 0
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_noise_counts_half_a_nat_for_each_part_of_a_pixel_whatever_its_variance() -> None:
    for variance in (1.0, 9.0):
        task, images = made(consensus(), noise=variance)
        noise = torch.randn(COUNT, len(images.disc), 2, generator=torch.Generator().manual_seed(1))
        images.all.spectra += torch.view_as_complex(noise * variance**0.5)
        band = len(images.disc.within(SHAPE.radius))
        losses = [task.losses(NETWORK, task.modules[NETWORK], task.batch(0, step))["data"] for step in range(3)]
        expected = float(noise[:, :band].square().mean())
        assert float(torch.stack(losses).mean().detach()) == pytest.approx(expected, rel=1e-4)


def test_a_step_is_the_same_whatever_was_asked_for_before() -> None:
    task, _ = made(consensus())
    first = task.batch(3, 5)
    task.batch(3, 0)
    assert all(torch.equal(value, task.batch(3, 5)[name]) for name, value in first.items())
    assert not torch.equal(first["draws"], task.batch(4, 5)["draws"])


def test_nothing_is_learned_from_images_kept_out() -> None:
    task, images = made(consensus(), held_out=3)
    kept_out = task.held_out()
    assert kept_out is not None
    network = task.modules[NETWORK]
    before = [float(sum(task.losses(NETWORK, network, task.batch(0, step)).values()).detach()) for step in range(3)]
    order = torch.randperm(COUNT, generator=generator_at(0, 2))[:3]
    images.all.spectra[order] += 100.0
    after = [float(sum(task.losses(NETWORK, network, task.batch(0, step)).values()).detach()) for step in range(3)]
    assert before == after
    assert float(task.score(NETWORK, network, task.held_out() or {}).detach()) > 0


def test_the_image_that_is_not_finite_is_named() -> None:
    task, images = made(consensus())
    images.all.spectra[7] = float("nan")
    found = [task.not_finite(task.modules[NETWORK], 0, step).tolist() for step in range(3)]
    assert sorted(number for step in found for number in step) == [7]


def test_information_is_the_divergence_of_two_normal_distributions() -> None:
    mean, log_variance = torch.tensor([[0.3, -1.0]]), torch.tensor([[-0.5, 0.2]])
    mine = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(mine, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(information_of(mean, log_variance), expected)


def test_an_object_is_kept_out_with_all_its_images() -> None:
    object_of = torch.arange(60) % 12 + 5
    members = kept_out(60, 17, 0, object_of)
    assert len(members) == 15
    assert torch.isin(object_of, object_of[members]).sum() == 15
    assert len(kept_out(60, 3, 0, object_of)) == 5
    assert len(kept_out(60, 0, 0, object_of)) == 0
    assert not torch.equal(members, kept_out(60, 17, 1, object_of))


def test_objects_of_one_image_are_kept_out_as_images_are() -> None:
    alone = kept_out(COUNT, 5, 3)
    assert torch.equal(alone, torch.randperm(COUNT, generator=generator_at(3, 2))[:5].sort().values)
    assert torch.equal(alone, kept_out(COUNT, 5, 3, torch.arange(COUNT)))
