"""Figures of amplitudes, of resolutions counted, of signal by view: drawn for whatever a correction may leave."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.bridge.worker.report import figures
from cryobridge.core.fourier import fibonacci_directions

PNG = b"\x89PNG\r\n\x1a\n"
NOWHERE = torch.full((17,), math.nan)


@pytest.mark.parametrize("badly", [torch.linspace(1, 0.4, 17), torch.full((17,), 50.0), NOWHERE])
def test_amplitudes_are_drawn_also_where_there_are_none(badly: torch.Tensor) -> None:
    picture = figures.amplitude_ratios({"badly": badly, "well": torch.ones(17)}, 2.0, 32)
    assert picture.startswith(PNG)


@pytest.mark.parametrize(
    "resolutions",
    [torch.linspace(3, 9, 50), torch.full((50,), 4.0), torch.full((50,), math.inf), torch.tensor([3.0, math.inf])],
    ids=["many", "all the same", "none measured", "half measured"],
)
def test_resolutions_are_counted_whatever_they_are(resolutions: torch.Tensor) -> None:
    assert figures.resolution_histogram(resolutions).startswith(PNG)


@pytest.mark.parametrize("signal", [torch.linspace(0.2, 0.9, 50), torch.zeros(50)])
def test_signal_by_view_is_drawn(signal: torch.Tensor) -> None:
    assert figures.signal_sphere(fibonacci_directions(50), signal).startswith(PNG)


def test_a_curve_that_is_no_resolution_gets_no_mark() -> None:
    curves = {"a": torch.linspace(1, 0, 17), "b": torch.linspace(1, 0.05, 17)}
    read, unread = (figures.fsc_curves(curves, 2.0, 32, no_resolutions=names) for names in ((), ("b",)))
    assert read != unread
