"""A run of ours in cryoDRGN's layout beside it, so that its programs and notebooks open it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cryobridge.core.latent import CoordinateModel
from cryobridge.schemas.particle_images import ImageOptions
from cryobridge.wrappers.cryodrgn import peer_config, peer_latents, peer_weights
from cryobridge.wrappers.particles.legacy_tables import legacy_ctf, legacy_poses, legacy_selection
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ..jobs.folder import OutputFolder
from .run_folder import Latents
from .trained import EpochLoss, TrainedModel

POSES, CTF, SELECTION = "pose.pkl", "ctf.pkl", "ind.pkl"


def write_peer_layout(
    folder: OutputFolder, trained: TrainedModel, particles: ParticleSet, options: ImageOptions, datadir: Path | None
) -> list[str]:
    """Write `z.N.pkl`, `pose.pkl`, `ctf.pkl`, and of the published method `config.yaml` and `weights.N.pkl`.

    Of selected particles there is `ind.pkl` too, and poses and CTF have a row for each of those selected from. N is the
    last epoch; latents of the others are written where they were kept. Files without a number are the last's.

    Parameters
    ----------
    datadir
        Where stacks are looked for that are not where their paths lead.

    Returns
    -------
    What a reader must know of it, in sentences.
    """
    last = max(len(trained.curve), 1)
    files = _write_tables(folder, particles)
    if datadir is not None:
        files["datadir"] = datadir
    _write_latents(folder, trained.latents, trained.log_variances, trained.epochs, last)
    if not isinstance(trained.model, CoordinateModel):
        return [_NO_NETWORK]
    window = options.window_radius if options.window else None
    try:
        weights = peer_weights(trained.model, last)
        config = peer_config(
            trained.model, particles, files, window_radius=window, seed=next(iter(trained.seeds.values()), 0)
        )
    except ValueError as error:
        return [f"{_NO_NETWORK} ({error})"]
    for name in (f"weights.{last}.pkl", "weights.pkl"):
        folder.write_data(name, weights)
    folder.write_text("config.yaml", config)
    _log_curve(folder, trained.curve)
    if trained.model.box != particles.box:
        return [
            f"cryoDRGN opens this run for volumes and analyses. To encode images it wants them in a box of "
            f"{trained.model.box} pixels, and the stacks have {particles.box}: see particles.downsample."
        ]
    return []


_NO_NETWORK = "In cryoDRGN's layout there are latents, poses and CTF alone: it has no network of this sort."


def _write_tables(folder: OutputFolder, particles: ParticleSet) -> dict[str, Path]:
    """Poses, CTF, and which particles are selected; where they lie, and the particles, by cryoDRGN's names."""
    # A list of stacks is no source of rows, but it is what names all of them.
    files = {"particles": particles.source or Path(particles.name)}
    whole = particles
    if particles.table_rows is not None and not np.array_equal(particles.rows, np.arange(particles.table_rows)):
        folder.write_data(SELECTION, legacy_selection(particles.rows))
        files["ind"] = folder.path / SELECTION
        # It takes selected rows out of tables of all particles; what it leaves out may be anything.
        at = np.zeros(particles.table_rows, np.int64)
        at[particles.rows] = np.arange(len(particles))
        whole = particles.of(at)
    if whole.rotations is not None and whole.shifts_A is not None:
        folder.write_data(POSES, legacy_poses(whole))
        files["poses"] = folder.path / POSES
    if whole.ctf is not None:
        folder.write_data(CTF, legacy_ctf(whole))
        files["ctf"] = folder.path / CTF
    return files


def _write_latents(
    folder: OutputFolder, latents: Latents, variances: Latents | None, epochs: Mapping[int, Latents], last: int
) -> None:
    if not latents.shape[1]:
        return
    for name in (f"z.{last}.pkl", "z.pkl"):
        folder.write_data(name, peer_latents(latents, variances))
    for epoch, found in epochs.items():
        if epoch != last:
            folder.write_data(f"z.{epoch}.pkl", peer_latents(np.asarray(found, np.float32), None))


def _log_curve(folder: OutputFolder, curve: Sequence[EpochLoss]) -> None:
    """Tell the log of every epoch in the words that cryoDRGN's learning curve is read from."""
    for one in curve:
        data, divergence = one.terms.get("data", one.loss), one.terms.get("kl", 0.0)
        minutes, seconds = divmod(int(one.seconds), 60)
        folder.log(
            f"# =====> Epoch: {one.epoch} Average gen loss = {data:.6g}, KLD = {divergence:.6g}, "
            f"total loss = {one.loss:.6f}; Finished in 0:{minutes:02}:{seconds:02}"
        )
