"""Latents as users write them."""

from __future__ import annotations

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.latents import GridAxis, grid_axis


def options(**given: object) -> object:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "vae.volumes",
        "inputs": {"run": "r"},
        "output": "o",
        "options": given,
    }
    return parse_job(spec, "job").options


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("pc1", GridAxis(True, 1)),
        ("z3:-2:2.5", GridAxis(False, 3, -2.0, 2.5, False)),
        ("PC2:1%:99%:7", GridAxis(True, 2, 1.0, 99.0, True, 7)),
        ("z1:-1e-1:.5:3", GridAxis(False, 1, -0.1, 0.5, False, 3)),
    ],
)
def test_axes_are_read(text: str, axis: GridAxis) -> None:
    assert grid_axis(text) == axis


@pytest.mark.parametrize("text", ["", "pc", "pc0", "x1", "pc1:1", "pc1:1:2%", "pc1:0%:101%", "pc1:a:b", "pc1;pc2"])
def test_what_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no axis|percentile"):
        grid_axis(text)


def test_epoch_0_may_be_asked_for() -> None:
    """Runs of cryoDRGN before version 3.5 have it."""
    assert options(z=1, epoch=0).epoch == 0  # type: ignore[attr-defined]
    with pytest.raises(InputInvalid, match="epoch"):
        options(z=1, epoch=-1)


@pytest.mark.parametrize("given", ["0.5,-1", "0.5 -1", "[0.5, -1]", [0.5, -1]])
def test_a_latent_is_a_list_or_one_word(given: object) -> None:
    assert options(z=given).z == (0.5, -1.0)  # type: ignore[attr-defined]


def test_a_latent_of_one_number_is_a_number() -> None:
    assert options(z=2).z == (2.0,)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"particles": "1,-2"}, "particles are counted from 0"),
        ({"particles": []}, "1 to 10000 numbers are needed"),
        ({"grid": "pc1,pc1"}, "an axis is named twice"),
        ({"grid": "pc1,pc2,pc3,pc4,pc5"}, "a grid has 1 to 4 axes"),
        ({"z": "a"}, "valid number"),
        ({"z_start": [0], "z_end": [0, 1]}, "'z_start' has 1 numbers, 'z_end' has 2"),
        ({"box": 9}, "9 is odd; a box must be even"),
        ({"box": 16, "target_apix": 2}, "say the same in two ways"),
        ({"prefix": "../x"}, "letters, digits, dots"),
    ],
)
def test_what_does_not_go_is_one_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        options(**given)
