"""Tilt pairs: two images of each particle, the second with its pose turned about x."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.simulated_particles import simulate

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.tilt_pairs import tilt_pairs, untilted_of


@pytest.fixture(scope="module")
def untilted() -> ParticleSet:
    return simulate("homogeneous", 6, 16).particle_set(Path("particles.star"))


@pytest.fixture(scope="module")
def bare(untilted: ParticleSet) -> ParticleSet:
    """A stack without a table."""
    return replace(
        untilted,
        name="tilted.mrcs",
        source=None,
        stacks=(Path("tilted.mrcs"),),
        pixel_size_A=np.ones(6),
        rotations=None,
        shifts_A=None,
        ctf=None,
    )


def test_a_tilted_view_is_turned_about_x(untilted: ParticleSet, bare: ParticleSet) -> None:
    """What lay along the beam lies along y after a quarter turn, with the sign of Rx."""
    pairs = tilt_pairs(untilted, bare, 60.0)
    assert pairs.rotations is not None
    assert untilted.rotations is not None
    before, after = untilted.rotations, pairs.rotations[6:]
    cosine, sine = 0.5, np.sqrt(0.75)
    assert np.allclose(after[:, 0], before[:, 0])
    assert np.allclose(after[:, 1], cosine * before[:, 1] - sine * before[:, 2])
    assert np.allclose(after[:, 2], sine * before[:, 1] + cosine * before[:, 2])


def test_a_bare_stack_takes_what_the_untilted_images_say(untilted: ParticleSet, bare: ParticleSet) -> None:
    pairs = tilt_pairs(untilted, bare, 45.0)
    assert pairs.ctf is not None
    assert pairs.tilts is not None
    assert untilted.ctf is not None
    assert np.array_equal(pairs.ctf.defocus_u_A[6:], untilted.ctf.defocus_u_A)
    assert np.array_equal(pairs.pixel_size_A[6:], untilted.pixel_size_A)
    assert [pairs.stacks[number].name for number in pairs.stack[[0, 6]]] == ["particles.mrcs", "tilted.mrcs"]
    assert pairs.tilts.particle.tolist() == [*range(6), *range(6)]


def test_a_table_of_tilted_images_keeps_its_own_ctf_and_shifts(untilted: ParticleSet) -> None:
    assert untilted.ctf is not None
    own = replace(
        untilted,
        shifts_A=np.full((6, 2), 3.0),
        ctf=replace(untilted.ctf, defocus_u_A=np.full(6, 20_000.0)),
    )
    pairs = tilt_pairs(untilted, own, 45.0)
    assert pairs.ctf is not None
    assert pairs.shifts_A is not None
    assert (pairs.ctf.defocus_u_A[6:] == 20_000).all()
    assert (pairs.shifts_A[6:] == 3).all()


def test_the_first_images_come_back_as_they_were(untilted: ParticleSet, bare: ParticleSet) -> None:
    back = untilted_of(tilt_pairs(untilted, bare, 45.0))
    assert back.tilts is None
    assert np.array_equal(back.rows, untilted.rows)
    assert np.array_equal(back.number, untilted.number)
    assert np.array_equal(np.asarray(back.rotations), np.asarray(untilted.rotations))


def test_pairs_that_are_none_are_refused(untilted: ParticleSet, bare: ParticleSet) -> None:
    with pytest.raises(InputInvalid, match=r"tilted\.mrcs \(tilt\): has 5 tilted images of 6 particles"):
        tilt_pairs(untilted, bare.of(np.arange(5)), 45.0)
    with pytest.raises(InputInvalid, match="extract both in one box"):
        tilt_pairs(untilted, replace(bare, box=20), 45.0)
    with pytest.raises(InputInvalid, match="has no poses"):
        tilt_pairs(replace(untilted, rotations=None), bare, 45.0)
