"""Maps for looking at: the same is done to the map before and after, and there always is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from cryobridge.bridge.worker.kinds.map.correct.looking import (
    AFTER,
    BEFORE,
    DISPLAY,
    PLAIN_AFTER,
    PLAIN_BEFORE,
    looking_maps,
)
from cryobridge.core.fourier import forward, lowpass, radius
from cryobridge.core.volume import PhantomPair, phantom_pair
from cryobridge.schemas.kinds.map.correct import CorrectOptions

N, VOXEL_A = 48, 2.0


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair(N, VOXEL_A, 5.5, cone_deg=40, inside=0.02)


def looked_at(pair: PhantomPair, limit_A: float = 5.5, **options: Any) -> Any:
    """The maps of a correction that changed nothing."""
    prepared = SimpleNamespace(
        originals=(pair.half1, pair.half2),
        mask=pair.mask,
        pair=SimpleNamespace(box=N, voxel_size_A=VOXEL_A),
        fsc3d=torch.where(pair.density > 0.5, 0.9, 0.1),
        limit_A=limit_A,
    )
    found = SimpleNamespace(mean=(pair.half1 + pair.half2) / 2)
    return looking_maps(CorrectOptions(**options), cast("Any", prepared), cast("Any", found))


@pytest.mark.parametrize("options", [{}, {"postprocess": False}], ids=["sharpened", "low-passed"])
def test_a_correction_that_changed_nothing_looks_as_the_map_before(pair: PhantomPair, options: dict[str, Any]) -> None:
    before, after = looked_at(pair, **options).maps.values()
    assert torch.allclose(before, after, atol=1e-5 * float(before.abs().max()))


def test_without_sharpening_both_are_low_passed_at_the_limit(pair: PhantomPair) -> None:
    looking = looked_at(pair, postprocess=False)
    assert list(looking.maps) == [PLAIN_BEFORE, PLAIN_AFTER]
    assert looking.complaints == []
    wanted = lowpass((pair.half1 + pair.half2) / 2, VOXEL_A, 5.5)
    assert torch.allclose(looking.maps[PLAIN_AFTER], wanted, atol=1e-5)


def test_halves_without_agreement_still_leave_something_to_look_at(pair: PhantomPair) -> None:
    noise = phantom_pair(N, VOXEL_A, 5.5, cone_deg=40, inside=0.02, signal=0.0)
    looking = looked_at(noise)
    assert len(looking.maps) == 2
    assert len(looking.complaints) == 1


def test_where_no_b_factor_can_be_had_the_map_is_weighted_and_says_why(pair: PhantomPair) -> None:
    looking = looked_at(pair, limit_A=9.0)
    assert list(looking.maps) == [BEFORE, AFTER]
    assert "too little for a B-factor" in looking.complaints[0]
    power = forward(looking.maps[AFTER]).abs()
    assert float(power[radius(N) > N * VOXEL_A / 9.0 + 4].max()) < 1e-3 * float(power.max())


def test_the_display_map_is_made_only_if_it_is_asked_for(pair: PhantomPair) -> None:
    assert DISPLAY not in looked_at(pair).maps
    assert DISPLAY in looked_at(pair, display_map=True).maps
