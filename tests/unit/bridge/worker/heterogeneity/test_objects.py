"""Which rows of a run are objects: images of a tilt series with one latent are one, all others each its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.moving_run import made_up_series, made_up_set

from cryobridge.bridge.worker.heterogeneity.objects import Objects

LATENTS = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
SERIES = made_up_series(5, 3)


def test_an_object_is_its_first_image() -> None:
    found = Objects.of(np.tile(LATENTS, (3, 1)), SERIES)
    assert found.firsts.tolist() == [0, 1, 2, 3, 4]
    assert found.of_row.tolist() == [0, 1, 2, 3, 4] * 3
    assert found.counted == "5 particles (15 images)"


def test_objects_are_in_the_order_of_their_first_images_whatever_their_numbers() -> None:
    assert SERIES.tilts is not None
    named = np.array([9, 9, 9, 2, 2, 2, 7, 7, 7, 0, 0, 0, 4, 4, 4])
    found = Objects.of(np.repeat(LATENTS, 3, axis=0), replace(SERIES, tilts=replace(SERIES.tilts, particle=named)))
    assert found.firsts.tolist() == [0, 3, 6, 9, 12]
    assert found.of_row.tolist() == np.repeat(np.arange(5), 3).tolist()


def test_rounding_makes_no_object_of_an_image_and_another_latent_does() -> None:
    latents = np.tile(LATENTS, (3, 1))
    latents[7] += 1e-6
    assert len(Objects.of(latents, SERIES).firsts) == 5
    latents[7] += 0.1
    found = Objects.of(latents, SERIES)
    assert found.are_rows
    assert found.counted == "15 particles"


def test_without_tilts_every_row_is_a_particle_also_where_latents_are_the_same() -> None:
    same = np.zeros((5, 2), np.float32)
    for particles in (None, made_up_set(5), SERIES):
        assert Objects.of(same, particles).firsts.tolist() == [0, 1, 2, 3, 4]
