"""Cap sums equal sums over all pairs of voxels, for any shell and angle, and reach every voxel of the shell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.directional import caps as capsums


def symmetric_cube(reach: int, seed: int) -> torch.Tensor:
    """Random values, equal at k and -k."""
    cube = torch.rand((2 * reach + 1,) * 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return cube + cube.flip((0, 1, 2))


@pytest.mark.slow
@given(shell=st.integers(1, 11), angle=st.floats(0.5, 90.0), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_sums_and_counts_equal_those_over_all_pairs(shell: int, angle: float, seed: int) -> None:
    cube = symmetric_cube(shell, seed)
    axis = np.arange(-shell, shell + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[np.rint(np.sqrt((points**2).sum(1))) == shell]
    values = cube.numpy()[tuple((points + shell).T)]
    limit = capsums.squared_chord_limit(shell, angle)
    member = ((points[:, None] - points[None]) ** 2).sum(-1) <= limit
    expected = {tuple(p): (m @ values, m.sum()) for p, m in zip(points.tolist(), member, strict=True)}
    seen = set()
    for caps in capsums.cap_sums([cube], [shell], angle):
        for point, total, count in zip(caps.points.tolist(), caps.sums[0].tolist(), caps.counts.tolist(), strict=True):
            assert total == pytest.approx(expected[tuple(point)][0], rel=1e-9)
            assert count == expected[tuple(point)][1]
            seen.update([tuple(point), tuple(-k for k in point)])
    assert seen == set(expected)


@pytest.mark.parametrize(("shell", "angle"), [(40, 10.0), (40, 20.0), (33, 40.0)])
def test_large_shells_in_float32_equal_the_sums_over_all_pairs(shell: int, angle: float) -> None:
    assert shell > capsums._FLOAT64_UP_TO
    cube = symmetric_cube(shell, 1).float()
    grid = torch.cartesian_prod(*[torch.arange(-shell, shell + 1)] * 3)
    points = grid[grid.square().sum(1).double().sqrt().round() == shell]
    values = cube[tuple((points + shell).T)].double()
    for caps in capsums.cap_sums([cube], [shell], angle):
        some = torch.randperm(caps.points.shape[0], generator=torch.Generator().manual_seed(2))[:150]
        squared = (caps.points[some].unsqueeze(1) - points).square().sum(-1)
        member = (squared <= capsums.squared_chord_limit(shell, angle)).double()
        torch.testing.assert_close(caps.sums[0][some].double(), member @ values, rtol=3e-6, atol=0)
        assert torch.equal(caps.counts[some].double(), member.sum(1))


def test_the_rim_belongs_to_the_cap() -> None:
    # At 60 degrees the chord is the radius itself; at 90 its square is twice that of the radius.
    assert [capsums.squared_chord_limit(i, 60.0) for i in (1, 7, 96)] == [1, 49, 96**2]
    assert [capsums.squared_chord_limit(i, 90.0) for i in (1, 7, 96)] == [2, 98, 2 * 96**2]
    assert capsums.squared_chord_limit(1, 10.0) == 0


def test_a_weak_cap_does_not_drown_beside_strong_voxels() -> None:
    cube = torch.full((41, 41, 41), 1e9)
    middle = torch.arange(41) - 20
    weak = (middle.view(-1, 1, 1).abs() > 15).expand(41, 41, 41)
    cube[weak] = 1.0
    for caps in capsums.cap_sums([cube], [20], 10.0):
        polar = caps.points[:, 0].abs() >= 19
        if bool(polar.any()):
            torch.testing.assert_close(caps.sums[0][polar], caps.counts[polar])


@pytest.mark.parametrize("angle", [0.0, -5.0, 90.5, float("nan")])
def test_half_angles_that_are_no_caps_are_refused(angle: float) -> None:
    with pytest.raises(ValueError, match="half-angle"):
        list(capsums.cap_sums([torch.zeros(3, 3, 3)], [1], angle))
