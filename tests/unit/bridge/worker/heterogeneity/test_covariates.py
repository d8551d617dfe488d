"""Latents that go with the imaging are told from those that do not, by ranks and by groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.moving_run import MovingModel, made_up_series, made_up_set

from cryobridge.bridge.worker.heterogeneity.covariates import (
    between_groups,
    covariates_of,
    dependences,
    warnings_of,
)
from cryobridge.bridge.worker.heterogeneity.reality import associations
from cryobridge.bridge.worker.heterogeneity.run_folder import LatentRun
from cryobridge.bridge.worker.kinds.vae.analyze.findings import latent_findings
from cryobridge.core.subspace import whole
from cryobridge.schemas.kinds.vae.analyze import AnalyzeOptions

COUNT = 2000
RANDOM = np.random.default_rng(6)
PARTICLES = made_up_set(COUNT)
LATENT = RANDOM.normal(size=COUNT)


def warned(values: np.ndarray) -> list[str]:
    found = dependences({"PC1": values}, covariates_of(PARTICLES))
    return [one.covariate for one in found if one.is_strong]


def test_a_latent_of_its_own_is_not_warned_of() -> None:
    assert warned(LATENT) == []


@pytest.mark.parametrize("name", ["defocus (A)", "view: polar angle (deg)", "shift (A)"])
def test_a_latent_that_follows_a_column_is_warned_of(name: str) -> None:
    column = covariates_of(PARTICLES)[name]
    values = LATENT + (column - column.mean()) / column.std()
    assert name in warned(values)
    assert any(name in line for line in warnings_of(dependences({"PC1": values}, {name: column})))


def test_a_latent_that_goes_with_the_azimuth_is_found_though_an_angle_has_no_order() -> None:
    azimuth = covariates_of(PARTICLES)["view: azimuth (deg)"]
    assert "view: azimuth (deg)" in warned(LATENT + np.cos(np.radians(2 * azimuth)))


def test_a_latent_that_differs_between_micrographs_is_warned_of() -> None:
    assert warned(LATENT + 1.0 * (PARTICLES.micrograph % 2)) == ["micrograph"]


def test_the_share_between_groups_is_what_was_put_in_and_chance_counts_nothing() -> None:
    groups = RANDOM.integers(0, 200, COUNT).astype(float)
    assert abs(between_groups(LATENT, groups)) < 0.03
    effect = RANDOM.normal(size=200)[groups.astype(int)]
    assert between_groups(LATENT + effect, groups) == pytest.approx(effect.var() / (1 + effect.var()), abs=0.05)
    assert between_groups(LATENT, np.full(COUNT, np.nan)) == 0


def test_what_a_table_does_not_say_is_left_out() -> None:
    bare = replace(PARTICLES, ctf=None, rotations=None, shifts_A=None, micrograph=np.full(COUNT, -1))
    assert covariates_of(bare) == {}
    assert covariates_of(None) == {}


def test_few_particles_that_go_with_nothing_are_not_warned_of() -> None:
    dice = np.random.default_rng(11)
    covariates = {
        "view: azimuth (deg)": dice.uniform(-180, 180, 40),
        "micrograph": dice.integers(0, 3, 40).astype(float),
        "defocus (A)": dice.normal(size=40),
    }
    found = [one for _ in range(100) for one in dependences({"PC1": dice.normal(size=40)}, covariates)]
    assert sum(one.is_strong for one in found) <= 3


def test_images_of_tilt_series_go_with_tomograms_no_more_often_than_their_particles_would() -> None:
    """60 tomograms of 8 particles in 5 images: by images nearly all of these latents would go with the tomogram."""
    dice, objects, tilts = np.random.default_rng(12), 480, 5
    series = made_up_series(objects, tilts)
    assert series.tilts is not None
    particles = replace(series, micrograph=series.tilts.particle // 8, micrographs=tuple(map(str, range(60))))
    options = AnalyzeOptions(clusters=2)
    strong, explained = 0, []
    for _ in range(5):
        latents = np.tile(dice.normal(size=(objects, 2)), (tilts, 1)).astype(np.float32)
        run = LatentRun(Path("run"), MovingModel(2), latents, None, particles, {})
        strong += sum(one.is_strong for one in whole(latent_findings(run, options, latents)).dependences)
        explained.append(float(associations(latents, particles)["micrograph"].max()))
    assert strong <= 1
    assert max(explained) < 0.1
