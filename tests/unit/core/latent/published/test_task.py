"""The published training as a task: latents in parts, and which objects a step takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from cryobridge.core.latent import whole_disc
from cryobridge.core.latent.published import NetworkShape, PublishedLoss, PublishedNetwork, PublishedTask
from cryobridge.core.particles import HalfDisc
from cryobridge.core.subspace import whole
from cryobridge.core.training import generator_at

BOX, COUNT = 16, 20
SHAPE = NetworkShape(BOX, 2, "resid", 1, 16, BOX / 2, 1, 16, "gaussian", 4, 0.5, "fourier", "relu", 2, 1, 16, 8)


@dataclass(frozen=True)
class Shown:
    members: torch.Tensor
    spectra: torch.Tensor
    ctf: torch.Tensor
    rotations: torch.Tensor


class Images:
    """Random ones, which tell how many were asked for."""

    def __init__(self) -> None:
        self.disc: HalfDisc = whole_disc(BOX)
        self.read = 0
        generator = torch.Generator().manual_seed(1)
        self._spectra = torch.randn(COUNT, len(self.disc), dtype=torch.complex64, generator=generator)

    def __len__(self) -> int:
        return COUNT

    def of(self, members: torch.Tensor) -> Shown:
        self.read += len(members)
        spectra = self._spectra[members]
        return Shown(members, spectra, torch.ones(spectra.shape), torch.eye(3).expand(len(members), 3, 3))

    def batch(self, seed: int, step: int, size: int) -> Shown:
        return self.of(torch.arange(size))

    def held(self) -> list[torch.Tensor]:
        return [self._spectra]


def network(shape: NetworkShape = SHAPE) -> PublishedNetwork:
    torch.manual_seed(0)
    return PublishedNetwork(shape, whole_disc(BOX), torch.Generator().manual_seed(2))


def task(of: PublishedNetwork, objects: torch.Tensor | None = None, held_out: int = 0) -> PublishedTask:
    return PublishedTask(of, Images(), objects, PublishedLoss(0.5), batch=4, held_out=held_out, seed=5)


def test_latents_are_found_in_parts_and_whoever_is_let_in_between_may_train():
    """They are those of one pass, and the network is as it was in the end."""
    learned = network()
    parts = task(learned).latents(6)
    for _ in range(4):
        next(parts)
        assert torch.is_grad_enabled()
        assert not learned.training
    with pytest.raises(StopIteration) as end:
        next(parts)
    assert learned.training
    mean, log_variance = end.value.value
    spectra = torch.view_as_real(Images().of(torch.arange(COUNT)).spectra)[:, None]
    with torch.no_grad():
        expected = learned.encode(spectra, torch.ones(COUNT, 1, spectra.shape[2]))
    assert torch.allclose(mean, expected[0], atol=1e-6)
    assert torch.allclose(log_variance, expected[1], atol=1e-6)


def test_latents_that_nobody_waits_for_any_more_leave_the_network_as_it_was():
    learned = network()
    parts = task(learned).latents(6)
    next(parts)
    parts.close()
    assert learned.training


def test_without_an_encoder_no_image_is_read_for_latents():
    given = task(network(replace(SHAPE, encoder="none", zdim=0)))
    mean, log_variance = whole(given.latents(6))
    assert mean.shape == log_variance.shape == (COUNT, 0)
    assert given._images.read == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("pairs", [False, True])
def test_an_order_is_drawn_once_for_all_steps_of_a_pass(pairs: bool, monkeypatch: pytest.MonkeyPatch):
    """Each pass has its own, whatever was asked for before."""
    drawn, draw = [], torch.randperm
    objects = torch.arange(COUNT).view(-1, 2) if pairs else None
    given = task(network(replace(SHAPE, encoder="tilt") if pairs else SHAPE), objects, held_out=2)
    used = draw(COUNT // 2 if pairs else COUNT, generator=generator_at(5, 3))[2:].sort().values
    steps = given.steps_of_pass
    monkeypatch.setattr(torch, "randperm", lambda *of, **how: drawn.append(of) or draw(*of, **how))
    found = [given.batch(7, step)["objects"] for step in range(2 * steps)]
    assert len(drawn) == 2
    for number in range(2):
        order = used[draw(len(used), generator=generator_at(7, 1, number))]
        assert torch.equal(torch.cat(found[number * steps : (number + 1) * steps]), order[: 4 * steps])
    assert torch.equal(given.batch(7, 1)["objects"], found[1])
    assert not torch.equal(given.batch(8, 1)["objects"], found[1])
