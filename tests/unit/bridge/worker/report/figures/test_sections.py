"""Sections of a half-spectrum are those of the whole spectrum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report.figures.sections import fourier_sections, fsc3d_slices, limit_shell
from cryobridge.core.fourier.transforms import radius

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("n", [8, 9, 16])
def test_sections_are_those_of_the_full_spectrum(n):
    volume = np.random.default_rng(n).normal(size=(n, n, n))
    full = np.abs(np.fft.fftn(volume))
    half = torch.from_numpy(np.abs(np.fft.rfftn(volume)))
    reach = (n - 1) // 2
    k = np.arange(-reach, reach + 1)
    up, across = np.meshgrid(k, k, indexing="ij")
    sections = fourier_sections(half)
    for section, wanted in zip(sections, (full[0, up, across], full[up, 0, across], full[up, across, 0]), strict=True):
        np.testing.assert_allclose(section, wanted, rtol=1e-9)


@pytest.mark.parametrize("limit", [1, 5, 11])
def test_the_limit_is_the_last_shell_that_holds_anything(limit):
    ball = (radius(24).round() <= limit).float()
    assert limit_shell(ball) == limit
    assert limit_shell(torch.zeros(24, 24, 13)) == 0
    assert limit_shell(torch.ones(24, 24, 13)) == 12


def test_a_badly_measured_direction_is_dark_where_it_lies():
    n = 32
    kz = torch.fft.fftfreq(n, 1 / n).view(n, 1, 1).abs()
    ball = (radius(n) <= 14).float()
    cone = ball * (kz < 0.8 * radius(n).clamp(min=1)).float()
    whole, without = (pixels(fsc3d_slices(volume, 2.0)) for volume in (ball, cone))
    third = whole.shape[1] // 3
    yellow = "#FDE725"
    assert share_of(without[:, :third], yellow) == pytest.approx(share_of(whole[:, :third], yellow), rel=0.02), "kx, ky"
    for start in (third, 2 * third):
        part = slice(start, start + int(0.85 * third))
        assert share_of(without[:, part], yellow) < 0.8 * share_of(whole[:, part], yellow)


@pytest.mark.parametrize(
    "values", [torch.zeros(8, 8, 5), torch.full((8, 8, 5), math.nan), torch.ones(600, 1, 1).expand(600, 600, 301)]
)
def test_odd_volumes_are_drawn(values):
    assert pixels(fsc3d_slices(values, 1.0)).std() > 1
