"""Prepared images, against spectra written out; streamed ones against those; the batches of a training."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import mrcfile
import numpy as np
import pytest
import torch
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity import image_source as image_source_module
from cryobridge.bridge.worker.heterogeneity import images as images_module
from cryobridge.bridge.worker.heterogeneity import preparation as preparation_module
from cryobridge.bridge.worker.heterogeneity.image_source import ImageSource, order_of_epoch, steps_per_epoch
from cryobridge.bridge.worker.heterogeneity.images import (
    PreparedImages,
    image_bytes,
    image_source,
    prepare_images,
    stream_images,
)
from cryobridge.bridge.worker.heterogeneity.preparation import Preparation, preparation_of
from cryobridge.bridge.worker.heterogeneity.streaming import StreamedImages
from cryobridge.core.particles import FourierGrid, half_disc, image_spectra, images_of, slice_points, soft_window
from cryobridge.core.training import generator_at
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.particle_images import ImageOptions
from cryobridge.wrappers.particles.particle_set import ParticleSet

BOX, COUNT = 24, 150
CPU = torch.device("cpu")
T = TypeVar("T")


@pytest.fixture(scope="module")
def simulated() -> SimulatedParticles:
    return simulate("homogeneous", COUNT, BOX, snr=0.5)


@pytest.fixture(scope="module")
def particles(simulated: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> ParticleSet:
    return simulated.particle_set(simulated.write(tmp_path_factory.mktemp("images")))


@pytest.fixture(scope="module")
def prepared(particles: ParticleSet) -> PreparedImages:
    return finished(prepare_images(particles, ImageOptions(), box=BOX, device=CPU))


def finished(steps: Generator[Any, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def test_an_order_is_drawn_once_for_all_batches_of_an_epoch(prepared: PreparedImages, monkeypatch: pytest.MonkeyPatch):
    """As it is the same for all of them, and a million numbers are long in drawing."""
    drawn, draw = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *of, **how: drawn.append(of) or draw(*of, **how))
    images = replace(prepared)
    found = torch.cat([images.batch(3, step, 50).members for step in range(6)])
    assert len(drawn) == 2
    orders = [order_of_epoch(COUNT, 3, epoch, 50, buffer=COUNT, chunk=COUNT) for epoch in range(2)]
    assert torch.equal(found, torch.cat(orders))


def test_spectra_are_windowed_recentred_and_of_unit_noise(
    simulated: SimulatedParticles, prepared: PreparedImages
) -> None:
    _, wanted, ctf, rotations = simulated.spectra()
    assert torch.allclose(prepared.spectra * prepared.noise, wanted, atol=1e-3)
    assert torch.allclose(prepared.ctf, ctf, atol=1e-5)
    assert torch.allclose(prepared.rotations, rotations, atol=1e-6)
    window = soft_window(BOX)
    pure = torch.randn(COUNT, BOX, BOX, generator=torch.Generator().manual_seed(0))
    noise = image_spectra(pure, prepared.disc, window) / prepared.noise
    assert float(noise.real.var()) == pytest.approx(1, abs=0.25)
    assert float(noise.imag.var()) == pytest.approx(1, abs=0.25)
    assert (prepared.contrast, prepared.poses_fit) == ("bright", True)


def test_dark_images_come_out_bright(particles: ParticleSet, simulated: SimulatedParticles, tmp_path: Path) -> None:
    dark = replace(simulated, images=-simulated.images)
    found = finished(prepare_images(dark.particle_set(dark.write(tmp_path)), ImageOptions(), box=BOX, device=CPU))
    assert found.contrast == "dark"
    assert torch.allclose(found.spectra * found.noise, simulated.spectra()[1], atol=1e-3)
    assert "dark" in found.remarks[0]


def test_phases_that_were_flipped_are_found(simulated: SimulatedParticles, tmp_path: Path) -> None:
    columns = simulated.ctf | dict.fromkeys(("defocus_u_A", "defocus_v_A"), 5 * simulated.ctf["defocus_u_A"])
    centred = replace(simulated, ctf=columns, origins_px=0 * simulated.origins_px)
    disc, _, ctf, rotations = centred.spectra(10)
    slices = FourierGrid.of(torch.from_numpy(centred.volume(0.5))).sample(slice_points(disc, rotations))
    clean = images_of(slices * ctf.abs(), disc).numpy()
    noise = np.random.default_rng(0).normal(0, clean.std(), clean.shape)
    flipped = replace(centred, images=(clean + noise).astype(np.float32))
    found = finished(prepare_images(flipped.particle_set(flipped.write(tmp_path)), ImageOptions(), box=BOX, device=CPU))
    assert any("flipped in these images already" in line for line in found.remarks)
    assert float(found.ctf.min()) >= 0


def test_poses_of_other_images_are_seen(particles: ParticleSet) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    assert particles.rotations is not None
    wrong = replace(particles, rotations=particles.rotations[order])
    found = finished(prepare_images(wrong, ImageOptions(), box=BOX, device=CPU))
    assert found.poses_fit is False
    assert any("is noise" in line for line in found.remarks)


def test_a_smaller_box_is_a_crop(particles: ParticleSet, prepared: PreparedImages) -> None:
    found = finished(prepare_images(particles, ImageOptions(), box=16, device=CPU))
    assert found.pixel_size_A == pytest.approx(prepared.pixel_size_A * 1.5)
    within = prepared.disc.count_within(7.5)
    assert torch.allclose(found.spectra * found.noise, prepared.spectra[:, :within] * prepared.noise, atol=2e-3)
    assert torch.allclose(found.ctf, prepared.ctf[:, :within], atol=1e-4)


def test_images_of_another_pixel_size_lie_where_their_frequencies_do(particles: ParticleSet) -> None:
    """An image of 5 % larger pixels holds the same particle at frequencies 5 % higher in its box."""
    sizes = particles.pixel_size_A.copy()
    sizes[:10] *= 1.05
    recipe = preparation_of(replace(particles, pixel_size_A=sizes), ImageOptions(), BOX, None, CPU)
    assert recipe.pixel_size_A == particles.pixel_size_A[0]
    some = recipe.rotations(np.arange(20))
    radii = slice_points(half_disc(BOX), some).norm(dim=2) / half_disc(BOX).radii
    assert torch.allclose(radii[:10], torch.tensor(1 / 1.05), atol=1e-5)
    assert torch.allclose(radii[10:], torch.tensor(1.0), atol=1e-5)
    volume = torch.zeros(BOX, BOX, BOX)
    volume[12, 12, 14] = 1.0
    assert FourierGrid.of(volume).sample(slice_points(half_disc(BOX, 5), some)).shape == (20, len(half_disc(BOX, 5)))


@pytest.mark.parametrize(
    ("change", "box", "said"),
    [
        ({"rotations": None}, BOX, "has no poses"),
        ({}, BOX + 2, "cannot be prepared to a box of 26"),
        ({}, 15, "cannot be prepared to a box of 15"),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_one_sentence(
    particles: ParticleSet, change: dict[str, Any], box: int, said: str
) -> None:
    with pytest.raises(InputInvalid, match=said):
        finished(prepare_images(replace(particles, **change), ImageOptions(), box=box, device=CPU))


def test_a_set_without_ctf_says_so(particles: ParticleSet) -> None:
    found = finished(prepare_images(replace(particles, ctf=None), ImageOptions(), box=BOX, device=CPU))
    assert float(found.ctf.min()) == float(found.ctf.max()) == 1
    assert any("no CTF" in line for line in found.remarks)


def test_streamed_images_are_the_prepared_ones(particles: ParticleSet, prepared: PreparedImages) -> None:
    streamed = finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))
    assert (streamed.noise, streamed.remarks) == (pytest.approx(prepared.noise), prepared.remarks)
    members = torch.tensor([7, 3, 140, 3])
    mine, theirs = streamed.of(members), prepared.of(members)
    assert torch.allclose(mine.spectra, theirs.spectra, atol=1e-4)
    assert torch.equal(mine.rotations, theirs.rotations)
    parts = [torch.cat([batch.spectra for batch in source.iterate(64)]) for source in (streamed, prepared)]
    assert torch.allclose(*parts, atol=1e-4)


@pytest.mark.parametrize("kind", ["prepared", "streamed"])
def test_an_epoch_holds_every_image_once_and_a_step_is_the_same_from_anywhere(
    kind: str, particles: ParticleSet, prepared: PreparedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_buffers(monkeypatch, 48, 11)

    def source() -> ImageSource:
        if kind == "prepared":
            return replace(prepared)
        return finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))

    images = source()
    epoch = [images.batch(3, step, 10).members for step in range(15)]
    assert sorted(torch.cat(epoch).tolist()) == list(range(COUNT))
    later = images.batch(3, 22, 10)
    assert torch.equal(source().batch(3, 22, 10).members, later.members)
    assert torch.equal(source().batch(3, 22, 10).spectra, later.spectra)
    assert not torch.equal(images.batch(3, 7, 10).members, later.members)
    assert not torch.equal(images.batch(4, 22, 10).members, later.members)
    assert torch.allclose(prepared.of(later.members).spectra, later.spectra, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "buffer", "chunk"), [(10, 48, 11), (16, 64, 7), (16, 32768, 256), (40, 20, 3), (200, 64, 16), (1, 149, 9)]
)
def test_batches_are_the_same_images_with_the_same_bits_wherever_images_lie(
    size: int,
    buffer: int,
    chunk: int,
    particles: ParticleSet,
    prepared: PreparedImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training that goes on with less memory free ends as it would have."""
    _small_buffers(monkeypatch, buffer, chunk)
    kept, streamed = replace(prepared), finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))
    for step in (0, 1, 5, steps_per_epoch(COUNT, size) - 1, steps_per_epoch(COUNT, size), 30):
        mine, theirs = kept.batch(3, step, size), streamed.batch(3, step, size)
        assert torch.equal(mine.members, theirs.members)
        assert torch.equal(mine.spectra, theirs.spectra)
        assert torch.equal(mine.ctf, theirs.ctf)
        assert torch.equal(mine.rotations, theirs.rotations)


def test_a_set_that_fits_a_buffer_comes_in_any_order() -> None:
    found = order_of_epoch(100, 3, 2, 16, buffer=96, chunk=5)
    assert torch.equal(found, torch.randperm(100, generator=generator_at(3, 2)))
    assert sorted(order_of_epoch(100, 3, 2, 16, buffer=95, chunk=5).tolist()) == list(range(100))


def test_a_batch_is_spread_over_the_buffer(particles: ParticleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours on the disk, which often come from one micrograph, are not in one batch."""
    _small_buffers(monkeypatch, 100, 10)
    streamed = finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))
    members = streamed.batch(0, 0, 10).members
    assert len(set((members // 10).tolist())) > 4


def test_images_are_scaled_in_parts(particles: ParticleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are read: what is done to all of them in one go grows with their number, and a call waits for it."""
    monkeypatch.setattr(preparation_module, "_CHUNK_BYTES", 0)
    steps = prepare_images(particles, ImageOptions(), box=BOX, device=CPU)
    texts = [step.text for step in steps]
    assert len([text for text in texts if text.startswith("scaling")]) == len(texts) / 2 == 10


def test_a_buffer_is_read_in_parts_and_what_is_read_can_be_parked(
    particles: ParticleSet, prepared: PreparedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of RELION waits for no more than a part; the batch after them reads nothing and is the same to the bit."""
    _small_buffers(monkeypatch, 64, 16)
    monkeypatch.setattr(preparation_module, "_CHUNK_BYTES", 0)  # so 16 images at once
    read: list[int] = []
    images = Preparation.images
    monkeypatch.setattr(Preparation, "images", lambda self, members: read.append(len(members)) or images(self, members))
    streamed = finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))
    read.clear()
    for _ in streamed.loading(3, 8, 10):
        assert (60, len(streamed.disc)) in {tuple(tensor.shape) for tensor in streamed.held()}
        assert read.pop() <= 16
        assert not read
    assert torch.equal(streamed.batch(3, 8, 10).spectra, replace(prepared).batch(3, 8, 10).spectra)
    assert not list(streamed.loading(3, 9, 10))
    assert not read
    assert not list(prepared.loading(3, 8, 10))


def test_loading_that_was_left_off_goes_on_with_the_next_batch(
    particles: ParticleSet, prepared: PreparedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation_module, "_CHUNK_BYTES", 0)
    streamed = finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU))
    next(iter(streamed.loading(0, 0, 10)))
    assert torch.equal(streamed.batch(0, 3, 10).spectra, prepared.batch(0, 3, 10).spectra)


def test_a_batch_keeps_no_buffer_on_the_device(particles: ParticleSet) -> None:
    """Whoever holds it still while the buffer is parked."""
    batch = finished(stream_images(particles, ImageOptions(), box=BOX, device=CPU)).batch(0, 0, 10)
    for tensor in (batch.spectra, batch.ctf, batch.rotations):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_images_that_do_not_fit_are_streamed(particles: ParticleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(finished(image_source(particles, ImageOptions(), box=BOX, device=CPU)), PreparedImages)
    monkeypatch.setattr(images_module, "_SHARE_OF_FREE", 0.0)
    assert isinstance(finished(image_source(particles, ImageOptions(), box=BOX, device=CPU)), StreamedImages)


def test_bytes_are_those_of_the_tensors(prepared: PreparedImages) -> None:
    held = prepared.spectra.nbytes + prepared.ctf.nbytes
    assert image_bytes(COUNT, BOX, BOX / 2 - 0.5) == pytest.approx(held, rel=0.1)


def test_an_image_with_nan_is_named(simulated: SimulatedParticles, tmp_path: Path) -> None:
    particles = simulated.particle_set(simulated.write(tmp_path))
    with mrcfile.mmap(tmp_path / "particles.mrcs", mode="r+") as file:
        file.data[4, 2, 2] = np.nan
    with pytest.raises(InputInvalid, match=r"particles\.mrcs.*image 5"):
        finished(prepare_images(particles, ImageOptions(), box=BOX, device=CPU))


def _small_buffers(monkeypatch: pytest.MonkeyPatch, buffer: int, chunk: int) -> None:
    monkeypatch.setattr(image_source_module, "BUFFER_IMAGES", buffer)
    monkeypatch.setattr(image_source_module, "CHUNK_IMAGES", chunk)
