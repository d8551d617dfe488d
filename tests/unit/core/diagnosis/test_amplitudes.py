"""Amplitudes before and after, where a pair is measured badly and where it is measured well."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.diagnosis import amplitudes_by_shell
from cryobridge.core.directional import fsc3d
from cryobridge.core.fourier import apply_filter, last_shell
from cryobridge.core.volume import cone_regions, phantom_pair

N, VOXEL_A, LIMIT_A = 48, 2.0, 5.5
LAST = last_shell(N, VOXEL_A, LIMIT_A)


def test_what_was_halved_in_the_cone_reads_as_half() -> None:
    pair = phantom_pair(N, VOXEL_A, LIMIT_A, cone_deg=40, inside=0.02)
    volume = fsc3d(pair.half1, pair.half2, None, limit_shell=LAST, half_angle_deg=10.0).clamp(min=0)
    cone, _ = cone_regions(pair, guard_deg=-5.0)
    mean = (pair.half1 + pair.half2) / 2
    found = amplitudes_by_shell(pair.half1, pair.half2, apply_filter(mean, torch.where(cone, 0.5, 1.0)), volume, LAST)
    shells = slice(6, LAST - 1)
    assert found.kept_badly[shells].tolist() == pytest.approx([0.5] * (LAST - 7), abs=0.03)
    assert found.kept_well[6:LAST].nanmean() > 0.95
    assert bool(found.kept_well[LAST + 1 :].isnan().all())


def test_the_truth_has_the_amplitude_of_the_signal() -> None:
    pair = phantom_pair(N, VOXEL_A, LIMIT_A, cone_deg=40, inside=0.02)
    volume = fsc3d(pair.half1, pair.half2, pair.mask, limit_shell=LAST, half_angle_deg=10.0).clamp(min=0)
    found = amplitudes_by_shell(pair.half1, pair.half2, pair.truth, volume, LAST, pair.mask)
    assert float(found.signal_well[5 : LAST - 2].mean()) == pytest.approx(1, abs=0.15)
