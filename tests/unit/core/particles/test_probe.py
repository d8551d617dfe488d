"""What a coarse backprojection says of images, on images made wrong on purpose."""

from __future__ import annotations

import pytest
import torch
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.core.particles import Ctf, FourierGrid, ImageProbe, ctf_values, probed, slice_points

BOX = 24


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("homogeneous", 300, BOX, snr=0.3)


def probe(particles: SimulatedParticles, *, sign: float = 1.0, shuffle: bool = False) -> ImageProbe:
    disc, spectra, ctf, rotations = particles.spectra(10)
    if shuffle:
        rotations = rotations[torch.randperm(len(rotations), generator=torch.Generator().manual_seed(5))]
    return probed(disc, sign * spectra, ctf, rotations, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_skewness_has_the_sign_of_the_contrast(particles: SimulatedParticles, sign: float) -> None:
    found = probe(particles, sign=sign)
    assert found.skewness * sign > 1
    assert min(half * sign for half in found.half_skewness) > 0.5


def test_poses_that_fit_agree_better_than_shuffled_ones(particles: SimulatedParticles) -> None:
    found = probe(particles)
    assert found.agreement > found.shuffled + 0.2


def test_shuffled_poses_agree_no_better_than_shuffled_ones(particles: SimulatedParticles) -> None:
    found = probe(particles, shuffle=True)
    assert abs(found.agreement - found.shuffled) < 0.1


@pytest.mark.parametrize("flipped", [False, True])
def test_phases_that_were_flipped_agree_better_without_signs(particles: SimulatedParticles, flipped: bool) -> None:
    """With enough defocus for the CTF to change its sign where there is signal."""
    disc, _, _, rotations = particles.spectra(10)
    many = {name: torch.from_numpy(column) for name, column in particles.ctf.items()}
    many["defocus_u_A"] = many["defocus_v_A"] = 5 * many["defocus_u_A"]
    ctf = ctf_values(Ctf(**many), disc, torch.full((len(particles),), particles.pixel_size_A))
    slices = FourierGrid.of(torch.from_numpy(particles.volume(0.5))).sample(slice_points(disc, rotations))
    noise = torch.randn(*slices.shape, generator=torch.Generator().manual_seed(2), dtype=torch.complex64)
    spectra = slices * (ctf.abs() if flipped else ctf) + noise * 0.1 * slices.abs().square().mean().sqrt()
    found = probed(disc, spectra, ctf, rotations, torch.Generator().manual_seed(0))
    assert (found.flipped - found.agreement > 0.05) == flipped
    assert (found.agreement - found.flipped > 0.05) != flipped


def test_noise_has_no_skewness_to_speak_of(particles: SimulatedParticles) -> None:
    disc, spectra, ctf, rotations = particles.spectra(10)
    noise = torch.randn(*spectra.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex64)
    found = probed(disc, noise, ctf, rotations, torch.Generator().manual_seed(0))
    assert abs(found.skewness) < 0.3
    assert abs(found.agreement) < 0.1
