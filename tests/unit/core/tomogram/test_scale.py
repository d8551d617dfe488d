"""Grey scales: percentiles and deviations of volumes in pieces, and back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

import numpy as np
import pytest
import torch

from cryobridge.core.tomogram import GreyScale, deviation_scale, normalised, percentile_scale

Pieces = Callable[[], Iterable[torch.Tensor]]


def ended(steps: Generator[None, None, GreyScale]) -> GreyScale:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def volume(*, outlier: float = 0.0) -> torch.Tensor:
    found = 3 + 0.5 * torch.randn((20, 21, 22), generator=torch.Generator().manual_seed(1))
    found[0, 0, 0] += outlier
    return found


@pytest.mark.parametrize("outlier", [0.0, 1e4, -1e6])
def test_percentiles_are_those_of_the_whole_volume(outlier: float) -> None:
    whole = volume(outlier=outlier)
    scale = ended(percentile_scale(lambda: whole.split(3)))
    low, high = np.percentile(whole.double().numpy(), [4, 96])
    assert scale.zero == pytest.approx(low, abs=2e-3)
    assert scale.one == pytest.approx(high - low, abs=4e-3)


def test_half_precision_does_not_overflow() -> None:
    whole = 300 + 40 * torch.randn((30, 30, 30), generator=torch.Generator().manual_seed(2))
    scale = ended(deviation_scale(lambda: whole.half().split(1)))
    assert scale.zero == pytest.approx(float(whole.mean()), rel=1e-3)
    assert scale.one == pytest.approx(float(whole.std()), rel=1e-3)


def test_a_scale_is_undone() -> None:
    whole, scale = volume(), GreyScale(3.0, 0.25)
    torch.testing.assert_close(scale.undo(scale.apply(whole)), whole)
    torch.testing.assert_close(scale.negated().apply(-whole), scale.apply(whole))


@pytest.mark.parametrize("by_percentile", [True, False])
def test_volumes_are_normalised_each_by_itself(by_percentile: bool) -> None:
    volumes = torch.stack([volume(), 100 * volume() - 7])
    for one in normalised(volumes, by_percentile=by_percentile).numpy():
        if by_percentile:
            np.testing.assert_allclose(np.percentile(one, [4, 96]), [0, 1], atol=1e-4)
        else:
            np.testing.assert_allclose([one.mean(), one.std()], [0, 1], atol=1e-4)


def test_a_volume_of_one_value_stays_finite() -> None:
    flat = torch.full((2, 4, 4, 4), 5.0)
    assert torch.equal(normalised(flat, by_percentile=True), torch.zeros_like(flat))


@pytest.mark.parametrize("scale_of", [percentile_scale, deviation_scale])
def test_a_tomogram_of_one_value_has_no_scale(scale_of: Callable[[Pieces], Generator[None, None, GreyScale]]) -> None:
    with pytest.raises(ValueError, match="all values are 5"):
        ended(scale_of(lambda: [torch.full((4, 4, 4), 5.0)]))
