"""Tilt series in a backprojection: which images count."""

from __future__ import annotations

import numpy as np

from cryobridge.schemas.kinds.particles.backproject import BackprojectOptions
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.tilt_series import order_within, with_dose_and_angle


def with_tilts(particles: ParticleSet, options: BackprojectOptions) -> ParticleSet:
    """The images that are wanted of tilt series, with dose and angles as they were given; other sets as they are.

    Raises
    ------
    InputInvalid
        If something of tilt series was asked for and the set has none.
    """
    found = with_dose_and_angle(particles, options, ("tilts_per_particle",))
    if particles.tilts is None or options.tilts_per_particle is None:
        return found
    return found.of(np.flatnonzero(order_within(particles.tilts) < options.tilts_per_particle).astype(np.int64))
