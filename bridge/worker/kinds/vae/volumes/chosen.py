"""Which latents a job asks for, out of its options, its file and the run's particles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.latent import Ends, latent_grid, latent_line
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.volumes import DEFAULT_GRID, VaeVolumesJob
from cryobridge.schemas.latents import MOST_VOLUMES, GridAxis, grid_axis
from cryobridge.wrappers.formats.latent_file import read_latents

from ....heterogeneity.run_folder import LatentRun


@dataclass(frozen=True)
class ChosenLatents:
    """Latents (K, zdim) to compute volumes of, and in words where they come from.

    follow
        Whether each is the next step from the one before, so that neighbours are worth comparing.
    """

    z: NDArray[np.float32]
    words: str
    follow: bool = True


def chosen_latents(job: VaeVolumesJob, run: LatentRun) -> ChosenLatents:
    """What the job asks for.

    Raises
    ------
    InputInvalid
        If it does not fit the run: another length, a particle or an axis that is not there, or too many.
    """
    options, zdim = job.options, run.model.zdim
    if zdim == 0:
        return ChosenLatents(np.zeros((1, 0), np.float32), "the only volume of a model without latents")
    if job.inputs.z_file is not None:
        found = read_latents(job.inputs.z_file, zdim)
        _expect_few(len(found))
        return ChosenLatents(found, f"latents of {job.inputs.z_file}")
    if options.z is not None:
        return ChosenLatents(_latent(options.z, "z", run), "one latent")
    if options.z_start is not None and options.z_end is not None:
        start, end = (
            _latent(value, name, run) for value, name in ((options.z_start, "z_start"), (options.z_end, "z_end"))
        )
        between = latent_line(torch.from_numpy(start[0]), torch.from_numpy(end[0]), options.count)
        return ChosenLatents(between.numpy(), "a straight line between two latents")
    if options.particles is not None:
        return _of_particles(options.particles, run)
    return _on_grid(job, run)


def _latent(value: tuple[float, ...], name: str, run: LatentRun) -> NDArray[np.float32]:
    if len(value) != run.model.zdim:
        raise InputInvalid(f"{name}: has {len(value)} numbers, latents of {run.path} have {run.model.zdim}")
    return np.array([value], dtype=np.float32)


def _of_particles(members: tuple[int, ...], run: LatentRun) -> ChosenLatents:
    latents = run.latents
    if max(members) >= len(latents):
        raise InputInvalid(
            f"particles: {max(members)} is not among the {len(latents)} of {run.path}, which are counted from 0"
        )
    return ChosenLatents(latents[list(members)], f"latents of {len(members)} particles", follow=False)


def _on_grid(job: VaeVolumesJob, run: LatentRun) -> ChosenLatents:
    latents = run.latents[run.objects.firsts]
    texts = job.options.grid or DEFAULT_GRID
    axes = [grid_axis(text) for text in texts]
    if len(latents) < 2:
        raise InputInvalid(f"{run.path}: has latents of {len(latents)} particles, which no grid can be laid through")
    ends = [_ends(axis, job.options.count) for axis in axes]
    _expect_few(int(np.prod([one.count for one in ends], dtype=float)))
    try:
        found = latent_grid(torch.from_numpy(latents), ends, components=axes[0].is_component)
    except ValueError as error:
        raise InputInvalid(f"grid: {error}; name others") from error
    return ChosenLatents(found.numpy(), f"a grid along {', '.join(texts)}", follow=len(axes) == 1)


def _ends(axis: GridAxis, count: int) -> Ends:
    return Ends(axis.number - 1, axis.low, axis.high, axis.in_percent, axis.count or count)


def _expect_few(count: int) -> None:
    if count > MOST_VOLUMES:
        raise InputInvalid(f"{count} volumes are asked for; a job computes at most {MOST_VOLUMES}, ask for fewer")
