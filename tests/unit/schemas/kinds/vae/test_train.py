"""Options of `vae.train`: cryoDRGN's names, old and new, and what of them goes together."""

from __future__ import annotations

from typing import Any

import pytest

from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.kinds.vae.train import TrainInputs, TrainOptions


def options(**given: Any) -> TrainOptions:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": {"particles": "a.star"},
        "output": "out",
        "options": given,
    }
    found = parse_job(spec, "job.yaml").options
    assert isinstance(found, TrainOptions)
    return found


@pytest.mark.parametrize(
    ("theirs", "ours", "value"),
    [
        ("zdim", "latent_dimensions", 8),
        ("num_epochs", "epochs", 25),
        ("n", "epochs", 25),
        ("batch_size", "batch", 16),
        ("b", "batch", 16),
        ("lr", "learning_rate", 1e-4),
        ("wd", "weight_decay", 0.1),
        ("qdim", "encoder_width", 256),
        ("enc_dim", "encoder_width", 256),
        ("players", "decoder_layers", 2),
        ("dec_layers", "decoder_layers", 2),
        ("Apix", "pixel_size_A", 1.5),
        ("window_r", "window_radius", 0.8),
    ],
)
def test_names_of_cryodrgn_are_understood(theirs: str, ours: str, value: float) -> None:
    assert getattr(options(**{theirs: value}), ours) == value


@pytest.mark.parametrize(
    "name", ["norm", "random_tilts", "num_workers", "max_threads", "multigpu", "invert_data", "no_amp", "lazy"]
)
def test_options_that_have_no_place_here_say_what_there_is_instead(name: str) -> None:
    with pytest.raises(OptionsInvalid, match=f"'{name}' is an option of cryoDRGN that has no place here"):
        options(**{name: True})


def test_divergence_is_never_rewarded() -> None:
    with pytest.raises(OptionsInvalid, match="beta"):
        options(beta=-1)
    assert options(beta=0).beta == 0
    assert options(beta="a", method="published").beta == "a"


def test_what_is_of_the_published_method_alone_is_refused_with_the_fast_one() -> None:
    with pytest.raises(OptionsInvalid, match="a schedule of 'beta' is of the published method"):
        options(beta="a")
    with pytest.raises(OptionsInvalid, match="'beta_control' is of the published method"):
        options(beta_control=2.0)
    assert options(beta="a", beta_control=2.0, method="published").is_published


def test_latents_that_are_learned_one_by_one_keep_no_particle_out() -> None:
    """One that is never shown would be written with the random latent that it began with."""
    table: dict[str, Any] = {"method": "published", "encoder": "table"}
    with pytest.raises(OptionsInvalid, match="none can be kept out; leave 'held_out' out"):
        options(**table, held_out=5)
    assert options(**table).held_out is None
    assert options(**table, held_out=0).held_out == 0
    assert options(**{**table, "method": "fast"}, held_out=5).held_out == 5
    assert options(**table, zdim=0, held_out=5).held_out == 5


def test_no_latent_is_trained_as_published() -> None:
    assert options(zdim=0).is_published
    assert not options().is_published


def test_few_particles_are_shown_more_often() -> None:
    assert options().fast_epochs("cpu", steps=10_000) == 1
    assert options().fast_epochs("cpu", steps=50) == 4
    assert options(epochs=2).fast_epochs("cpu", steps=50) == 2


def test_the_training_fits_the_particles() -> None:
    training = options().fast_training("cpu", 10)
    assert training.batch == 10
    assert training.held_out == 0
    assert options().fast_training("cuda:0", 100_000).held_out == 1024
    assert options(held_out=7).fast_training("cpu", 1000).held_out == 7


def test_the_box_is_that_of_the_images_but_not_large() -> None:
    assert options().box_of(97) == 96
    assert options().box_of(320) == 128
    assert options(box=200).box_of(320) == 200


def test_the_latest_checkpoint_is_gone_on_with_without_a_word() -> None:
    """A job that asks for it is the job that was cut short."""
    assert TrainInputs.model_validate({"particles": "a.star", "load": "latest"}).load is None
    assert TrainInputs.model_validate({"particles": "a.star", "load": "out"}).load is not None
