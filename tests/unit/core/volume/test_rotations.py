"""Rotations: 24 proper exact ones, and uniform ones on SO(3)."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.volume.rotations import (
    CUBE_TURNS,
    random_matrices,
    random_turns,
    rotate,
    spherical_window,
    turn,
    turn_back,
    turn_each,
    turn_each_back,
    turn_matrices,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _matrix(index: int) -> torch.Tensor:
    """Rotation `index` as a matrix on (z, y, x), found by turning three marks."""
    columns = []
    for axis in range(3):
        marked = torch.zeros(3, 3, 3)
        place = [1, 1, 1]
        place[axis] = 2
        marked[tuple(place)] = 1
        columns.append(torch.nonzero(turn(marked, index))[0].double() - 1)
    return torch.stack(columns, dim=1)


def test_the_24_turns_are_distinct_proper_rotations() -> None:
    matrices = [_matrix(index) for index in range(len(CUBE_TURNS))]
    assert len({tuple(m.flatten().tolist()) for m in matrices}) == 24
    for matrix in matrices:
        assert torch.equal(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
        assert round(float(torch.linalg.det(matrix))) == 1
    assert torch.equal(matrices[0], torch.eye(3, dtype=torch.float64))


def test_turning_back_undoes_every_turn_exactly() -> None:
    volume = torch.randn(2, 5, 5, 5, generator=_generator())
    for index in range(24):
        assert torch.equal(turn_back(turn(volume, index), index), volume)


def test_each_sample_has_its_own_turn() -> None:
    volumes = torch.randn(3, 1, 4, 4, 4, generator=_generator())
    turned = turn_each(volumes, [0, 5, 17])
    assert torch.equal(turned[0], volumes[0])
    assert torch.equal(turned[1], turn(volumes[1], 5))
    assert torch.equal(turn_each_back(turned, [0, 5, 17]), volumes)


def test_drawn_turns_leave_out_the_identity_when_asked() -> None:
    drawn = random_turns(2000, _generator(), identity=False)
    assert set(drawn) == set(range(1, 24))
    assert 0 in random_turns(2000, _generator())


def test_random_matrices_are_rotations_spread_evenly() -> None:
    matrices = random_matrices(4000, _generator(3))
    assert torch.allclose(matrices @ matrices.transpose(1, 2), torch.eye(3).expand(4000, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(4000), atol=1e-5)
    # On SO(3) the mean is 0 and the mean square of every element is 1/3.
    assert float(matrices.mean(dim=0).abs().max()) < 0.04
    assert float((matrices.square().mean(dim=0) - 1 / 3).abs().max()) < 0.03


def test_interpolated_rotation_agrees_with_the_exact_one() -> None:
    volume = torch.randn(1, 1, 9, 9, 9, generator=_generator())
    for index in (3, 10, 20):
        # `rotate` acts on (x, y, z), `_matrix` on (z, y, x).
        matrix = _matrix(index).flip(0, 1).float()
        assert torch.allclose(rotate(volume, matrix[None]), turn(volume, index), atol=1e-5)


def test_window_is_one_inside_the_ball_and_zero_in_the_corners() -> None:
    window = spherical_window(16, torch.device("cpu"))
    assert float(window[8, 8, 8]) == 1
    assert float(window[0, 0, 0]) == 0
    for index in range(24):
        assert torch.allclose(turn(window, index), window)


@pytest.mark.parametrize("side", [4, 5])
def test_rotations_given_as_matrices_are_those_given_by_number(side: int) -> None:
    volumes = torch.randn(24, 2, side, side, side, generator=torch.Generator().manual_seed(0))
    numbers = list(range(24))
    matrices = turn_matrices("cpu")[torch.tensor(numbers)]
    assert torch.equal(turn_each(volumes, matrices), turn_each(volumes, numbers))
    assert torch.equal(turn_each_back(volumes, matrices), turn_each_back(volumes, numbers))
