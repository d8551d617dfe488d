"""The consensus: its prior is the power of the volume, with few and faint images too; noise has hardly any."""

from __future__ import annotations

import pytest
import torch
from support.simulated_particles import simulate

from cryobridge.core.particles import half_disc, rotations_of_angles
from cryobridge.core.subspace import SeenImages, consensus_of, shell_means

BOX = 32


def of_noise(count: int) -> SeenImages:
    generator = torch.Generator().manual_seed(count)
    disc = half_disc(BOX)
    spectra = torch.view_as_complex(torch.randn(count, len(disc), 2, generator=generator))
    angles = 360 * torch.rand(count, 3, generator=generator)
    return SeenImages(disc, spectra, torch.ones(count, len(disc)), rotations_of_angles(angles).float())


@pytest.mark.parametrize(("count", "snr", "least"), [(50, 0.03, 0.74), (200, 0.03, 0.895), (1000, 0.3, 0.992)])
def test_few_and_faint_images_give_what_they_hold(count: int, snr: float, least: float) -> None:
    """A prior that takes more for noise than noise gives had .684, .887 and .992."""
    truth = simulate("twostate", count, BOX, snr=snr)
    consensus, _ = consensus_of(SeenImages(*truth.spectra()))
    share = truth.coordinate.mean()
    mean = torch.from_numpy(share * truth.volume(1.0) + (1 - share) * truth.volume(0.0)).float()
    found = torch.corrcoef(torch.stack([consensus.volume.flatten(), mean.flatten()]))[0, 1]
    assert float(found) > least


@pytest.mark.parametrize("count", [16, 300])
def test_images_of_noise_have_a_prior_that_is_small_and_not_negative(count: int) -> None:
    images = of_noise(count)
    consensus, residuals = consensus_of(images)
    assert torch.all(consensus.prior_power > 0)
    power = shell_means(residuals.abs().square().mean(dim=0), images.disc)
    before = shell_means(images.spectra.abs().square().mean(dim=0), images.disc)
    assert torch.all(power <= before * 1.001)
