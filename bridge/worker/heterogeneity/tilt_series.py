"""Images of tilt series: their order, their dose and angle, and how much each counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import HalfDisc, exposure_weights
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.tilt_series import TiltSeriesOptions
from cryobridge.wrappers.particles.particle_set import ParticleSet, TiltColumns

_GIVEN = ("dose_per_tilt_e_A2", "angle_per_tilt_deg")


def with_dose_and_angle(particles: ParticleSet, options: TiltSeriesOptions, others: Sequence[str] = ()) -> ParticleSet:
    """Tilt series with dose and angles as they were given; other sets as they are.

    Parameters
    ----------
    others
        Names of more options that mean something of tilt series alone, refused likewise.

    Raises
    ------
    InputInvalid
        If something of tilt series was asked for and the set has none.
    """
    tilts = particles.tilts
    if tilts is None:
        asked = [name for name in (*others, *_GIVEN) if getattr(options, name) is not None]
        if asked:
            raise InputInvalid(
                f"{particles.name}: says of no images that they are tilts of one particle, so {asked[0]} means "
                "nothing; leave it out, or give a table of tilt series"
            )
        return particles
    order = order_within(tilts)
    if options.dose_per_tilt_e_A2 is not None:
        tilts = replace(tilts, dose_e_A2=order.astype(np.float64) * options.dose_per_tilt_e_A2)
    if options.angle_per_tilt_deg is not None:
        # 0, 1, 1, 2, 2, ... steps from the middle: first to one side, then to the other.
        tilts = replace(tilts, tilt_deg=options.angle_per_tilt_deg * np.ceil(order / 2))
    found = replace(particles, tilts=tilts)
    if not options.tilt_weights or particles.ctf is None:
        return found
    # Dose and angle count once: by the weights, not by the envelope and scale that stand for them in the table.
    plain = replace(particles.ctf, bfactor_A2=0 * particles.ctf.bfactor_A2, scale=0 * particles.ctf.scale + 1)
    return replace(found, ctf=plain)


def order_within(tilts: TiltColumns) -> NDArray[np.int64]:
    """The place of each image among those of its particle, (N,): by dose, then by row."""
    sorted_rows = np.lexsort((np.arange(len(tilts.particle)), tilts.dose_e_A2, tilts.particle))
    ordered = tilts.particle[sorted_rows]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    lengths = np.diff(np.append(starts, len(ordered)))
    place = np.empty(len(ordered), dtype=np.int64)
    place[sorted_rows] = np.arange(len(ordered)) - np.repeat(starts, lengths)
    return place


def weights_of(
    particles: ParticleSet, members: NDArray[np.int64], disc: HalfDisc, pixel_size_A: float
) -> Tensor | None:
    """Weights (K, M) of images of tilt series by dose and angle; None for other sets."""
    if particles.tilts is None:
        return None
    device = disc.points.device
    voltage = np.full(len(members), 300.0) if particles.ctf is None else particles.ctf.voltage_kV[members]
    dose, angle = particles.tilts.dose_e_A2[members], particles.tilts.tilt_deg[members]
    columns = (torch.from_numpy(column).to(device) for column in (dose, angle, voltage))
    return exposure_weights(disc, pixel_size_A, *columns)
