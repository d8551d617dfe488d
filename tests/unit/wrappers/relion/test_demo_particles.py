"""The small project with two states: its table is true of its images."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.reading import read_particles
from cryobridge.wrappers.relion.demo.particles import Recipe, ctf, euler_matrices
from cryobridge.wrappers.relion.demo.specimen import project, pseudo_protein
from cryobridge.wrappers.relion.demo_particles import command
from cryobridge.wrappers.relion.demo_particles.mixture import Mixture, MixtureRecipe, simulate_mixture
from cryobridge.wrappers.relion.demo_particles.project import STAR, TRUTH, write_project

COUNT = 60


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return simulate_mixture(MixtureRecipe(n_particles=COUNT, micrographs=3, signal_to_noise=4.0))


def test_images_are_what_the_table_says_of_them(mixture: Mixture, tmp_path: Path) -> None:
    write_project(tmp_path, mixture)
    particles = read_particles(tmp_path / STAR)
    assert (particles.box, len(particles), len(particles.stacks)) == (32, COUNT, 3)
    assert particles.rotations is not None
    assert particles.shifts_A is not None
    assert particles.ctf is not None
    np.testing.assert_allclose(particles.rotations, euler_matrices(mixture.euler_deg), atol=1e-6)
    images = read_images(particles, np.arange(COUNT))
    np.testing.assert_array_equal(images, mixture.images)
    # The whole specimen at the pose, shift and CTF that were read explains the images of whole particles.
    whole = pseudo_protein(np.random.default_rng(7), (30.0, 26.0, 36.0), n_helices=16, atom_sigma_A=4.0)
    optics = Recipe(box=32, pixel_size_A=5.0)
    found = []
    for at in np.flatnonzero(mixture.is_whole):
        clean = project(whole, particles.rotations[at], -particles.shifts_A[at], 32, 5.0)
        defocus = np.array([particles.ctf.defocus_u_A[at], particles.ctf.defocus_v_A[at], 30.0])
        seen = np.fft.irfft2(np.fft.rfft2(clean) * ctf(optics, defocus), s=clean.shape)
        found.append(np.corrcoef(seen.ravel(), images[at].ravel())[0, 1])
    assert min(found) > 0.5


def test_the_truth_is_told_beside_it(mixture: Mixture, tmp_path: Path) -> None:
    write_project(tmp_path, mixture)
    table = np.loadtxt(tmp_path / TRUTH, delimiter=",", skiprows=1)
    assert (table[:, 1] > 0).tolist() == mixture.is_whole.tolist()
    assert 0.3 < mixture.is_whole.mean() < 0.9


def test_a_folder_with_other_files_is_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.mrc").write_bytes(b"x")
    monkeypatch.setattr("sys.argv", ["demo-particles", "-o", str(tmp_path), "--particles", "20"])
    assert command.run() == 1
    assert "holds files that are not the demo's" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.mrc"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr("sys.argv", ["demo-particles", "-o", str(tmp_path / name), "--particles", "20"])
    assert command.run() == 1
    said = capsys.readouterr()
    assert f"{tmp_path / name} cannot be written: Not a directory; choose another --output" in said.err
    assert "Simulating" not in said.out


def test_a_disk_that_is_full_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, mixture: Mixture) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "write_project", full)
    monkeypatch.setattr("sys.argv", ["demo-particles", "-o", str(tmp_path / "demo"), "--particles", "20"])
    assert command.run() == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
