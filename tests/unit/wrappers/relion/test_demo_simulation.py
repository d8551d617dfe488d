"""The simulated sums are what RELION would hand over: their reconstruction is the truth, on its scale."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.wrappers.relion.demo import jobfiles, quality, spectra
from cryobridge.wrappers.relion.demo.particles import (
    Recipe,
    draw_views,
    euler_matrices,
    matrices_to_euler,
    perturbed,
    simulate,
)
from cryobridge.wrappers.relion.demo.specimen import density, low_passed, project, pseudo_protein
from cryobridge.wrappers.relion.demo.sums import back_project

SMALL = Recipe(
    box=32, pixel_size_A=4.0, n_particles=300, n_helices=8, semi_axes_A=(30, 24, 36), shift_sigma_A=3.0, kappa=0.0
)


def slope_and_correlation(volume, truth, pixel_size_A, resolution_A):
    a, b = (low_passed(v.astype(float), pixel_size_A, resolution_A) for v in (volume, truth))
    return (a * b).sum() / (b * b).sum(), np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_projection_is_the_sum_along_z():
    """A particle seen from +z is the plain sum over z of its map."""
    specimen = pseudo_protein(np.random.default_rng(0), (30, 24, 36), 6, atom_sigma_A=3.0)
    image = project(specimen, np.eye(3), np.zeros(2), 40, 3.0)
    summed = density(specimen, 40, 3.0).sum(0)
    assert np.abs(image - summed).max() < 2e-5 * summed.max()


def test_euler_angles_round_trip():
    """Angles to matrices and back give the same views, the poles included."""
    views = draw_views(np.random.default_rng(1), 50, 3.0, 0.2)
    views[0, 1], views[1, 1] = 0.0, 180.0
    again = euler_matrices(matrices_to_euler(euler_matrices(views)))
    assert np.abs(again - euler_matrices(views)).max() < 1e-9


def test_standard_map_is_the_truth_on_its_scale(tmp_path, relion):
    """With little noise and even views, the stock tool's map of the simulated sums has slope 1 against the truth."""
    particles = simulate(replace(SMALL, signal_to_noise=30.0))
    pair = [back_project(particles, particles.halves == h, particles.euler_deg, 28) for h in (1, 2)]
    fsc = spectra.half_map_fsc(*pair)
    assert fsc[1:12].min() > 0.95
    jobfiles.write_inputs(tmp_path, particles, particles.truth, np.ones_like(particles.truth))
    star = jobfiles.write_call(tmp_path, 1, 1, pair[0], fsc, spectra.reference_tau2(pair[0], fsc), particles)
    subprocess.run([relion["relion_external_reconstruct"], str(star)], cwd=tmp_path, check=True, capture_output=True)
    volume = mrcfile.read(tmp_path / star.with_suffix(".mrc"))
    slope, correlation = slope_and_correlation(volume, particles.truth, 4.0, 11.0)
    assert slope == pytest.approx(1.0, abs=0.03)
    assert correlation > 0.99


def test_data_over_weight_is_the_truth_on_its_scale():
    """Without any RELION: data over weight, transformed back and freed of the interpolation's sinc^2, is the truth."""
    particles = simulate(replace(SMALL, signal_to_noise=30.0))
    sums = back_project(particles, np.ones(300, bool), particles.euler_deg, 28)
    ratio = np.divide(sums.data, sums.weight, out=np.zeros_like(sums.data), where=sums.weight > 0)
    padded = np.fft.fftshift(np.fft.irfftn(ratio * 32**2, s=(64, 64, 64), axes=(0, 1, 2)))
    sinc = np.sinc((np.arange(32) - 16) / 64)
    volume = padded[16:48, 16:48, 16:48] / (sinc[:, None, None] * sinc[None, :, None] * sinc) ** 2
    slope, correlation = slope_and_correlation(volume, particles.truth, 4.0, 12.0)
    assert correlation > 0.99
    assert slope == pytest.approx(1.0, abs=0.05)


def test_tau2_makes_the_prior_weigh_as_the_fsc_says():
    """In the mean over a shell, prior over weight is (1 - FSC) / FSC: the Wiener filter that the FSC asks for."""
    particles = simulate(replace(SMALL, signal_to_noise=0.3))
    sums = back_project(particles, particles.halves == 1, particles.euler_deg, 24)
    fsc = np.full(17, 0.6)
    tau2 = spectra.reference_tau2(sums, fsc)
    assert (tau2[13:] == 0).all()
    from cryobridge.wrappers.relion.demo.sums import squared_radius

    radius = np.sqrt(squared_radius(64))
    shell = (np.floor(radius / 2 + 0.5) == 7) & (radius < 24)
    double = np.where(np.arange(33) % 32 == 0, 1.0, 2.0) * np.ones((64, 64, 1))
    mean_weight = np.average(sums.weight[shell], weights=double[shell])
    assert 1 / (8 * tau2[7]) / mean_weight == pytest.approx(0.4 / 0.6, rel=1e-6)


def test_preferred_views_leave_a_cone_badly_sampled():
    """With views about the poles, the Fourier weight near the z axis is far below that near the xy plane."""
    particles = simulate(replace(SMALL, kappa=10.0, uniform_fraction=0.05, n_particles=100))
    weight = back_project(particles, np.ones(100, bool), particles.euler_deg, 24).weight
    assert weight[20, :3, :3].mean() < 0.2 * weight[:3, 20, :3].mean()


def test_angular_error_forgives_a_common_turn_only():
    """A turn of all views together counts for nothing; independent errors are measured."""
    rng = np.random.default_rng(3)
    truth = draw_views(rng, 400, 0.0, 1.0)
    turn = euler_matrices(np.array([[10.0, 8.0, -5.0]]))[0]
    turned = matrices_to_euler(euler_matrices(truth) @ turn)
    assert quality.angular_errors_deg(turned, truth).max() < 1e-4
    noisy = perturbed(rng, turned, 4.0)
    errors = quality.angular_errors_deg(noisy, truth)
    assert np.sqrt((errors**2).mean()) == pytest.approx(4.0, rel=0.1)


def test_angular_error_counts_from_the_nearest_of_symmetric_views():
    """A view of a C3 specimen is as good a third of a turn about z away; without symmetry it is 120 degrees off."""
    rng = np.random.default_rng(5)
    truth = draw_views(rng, 300, 0.0, 1.0)
    turned = truth + np.stack([120.0 * rng.integers(0, 3, 300), np.zeros(300), np.zeros(300)], axis=1)
    assert quality.angular_errors_deg(turned, truth, fold=3).max() < 1e-4
    errors = quality.angular_errors_deg(perturbed(rng, turned, 4.0), truth, fold=3)
    assert np.sqrt((errors**2).mean()) == pytest.approx(4.0, rel=0.1)


def test_a_specimen_of_three_has_their_point_group():
    """Every third of a turn about z brings the map onto itself, and no other turn does."""
    particles = simulate(replace(SMALL, n_particles=1, fold=3, radius_A=15.0, semi_axes_A=(14.0, 12.0, 25.0)))
    atoms = particles.specimen.atoms
    for degrees, alike in ((120.0, True), (60.0, False)):
        turn = euler_matrices(np.array([[degrees, 0.0, 0.0]]))[0]
        turned = density(replace(particles.specimen, atoms=atoms @ turn), 24, 4.0)
        difference = np.abs(turned - density(particles.specimen, 24, 4.0)).max() / turned.max()
        assert (difference < 1e-6) == alike


def test_truth_fsc_sees_a_missing_cone():
    """A map whose cone about z was emptied agrees with the truth outside the cone and not inside."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(32, 32, 32))
    spectrum = np.fft.rfftn(truth)
    kz = np.abs(np.fft.fftfreq(32, 1 / 32))[:, None, None]
    k = [np.fft.fftfreq(32, 1 / 32)[None, :, None], np.fft.rfftfreq(32, 1 / 32)[None, None, :]]
    cone = kz >= np.cos(np.deg2rad(quality.CONE_HALF_ANGLE_DEG)) * np.sqrt(kz**2 + k[0] ** 2 + k[1] ** 2)
    noise = np.fft.rfftn(rng.normal(size=truth.shape))
    emptied = np.fft.irfftn(np.where(cone, noise, spectrum), s=truth.shape, axes=(0, 1, 2))
    result = quality.fsc_to_truth(emptied, truth)
    assert result.outside[3:14].min() > 0.99
    assert abs(result.inside[3:14]).mean() < 0.3
    assert result.overall[8] == pytest.approx(1 - (1 - np.cos(np.pi / 6)), abs=0.1)


def test_files_name_what_they_point_at(tmp_path: Path):
    """Every file that the call's STAR and the optimiser name is there, relative to the project folder."""
    particles = simulate(replace(SMALL, n_particles=20))
    jobfiles.write_inputs(tmp_path, particles, particles.truth, np.ones_like(particles.truth))
    sums = back_project(particles, np.ones(20, bool), particles.euler_deg, 16)
    jobfiles.write_iteration(tmp_path, 0, particles, particles.euler_deg, 2, np.ones(17))
    star = jobfiles.write_call(tmp_path, 1, 2, sums, np.ones(17), np.ones(17), particles)
    words = ((tmp_path / star).read_text() + (tmp_path / f"{jobfiles.ROOT}_it000_optimiser.star").read_text()).split()
    named = [word for word in words if word.endswith((".mrc", ".star")) and "result" not in word.lower()]
    outputs = (str(star.with_suffix(".mrc")), str(star)[: -len(".star")] + "_out.star")
    missing = [name for name in named if name not in outputs and not (tmp_path / name).exists()]
    assert not missing
