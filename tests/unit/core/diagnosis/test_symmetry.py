"""A point group that half-maps have passes, however anisotropic and noisy they are; one that they have not is named."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from cryobridge.core.diagnosis import SymmetryFound, symmetry_found
from cryobridge.core.volume import operators, phantom, soft_sphere, symmetrise

N = 40
Halves = tuple[torch.Tensor, torch.Tensor]


def symmetric(point_group: str, inside: float = 0.03, seed: int = 1) -> Halves:
    """Halves of a particle that has a point group, with the noise of a badly sampled cone about z in them."""
    pair = phantom.phantom_pair(N, 2.0, 6.0, inside=inside, seed=seed)
    truth = symmetrise(pair.truth, operators(point_group))
    truth = truth * float(pair.truth.std() / truth.std())
    return truth + pair.half1 - pair.truth, truth + pair.half2 - pair.truth


def turned_by_90(halves: Halves, axes: tuple[int, int]) -> Halves:
    """The halves turned about one of the box's axes, on the voxels, so that voxel n // 2 stays where it is."""
    first, second = (torch.rot90(half[1:, 1:, 1:], 1, axes) for half in halves)
    return first, second


@pytest.fixture(scope="module")
def mask() -> torch.Tensor:
    return soft_sphere(N, 16.0, 3.0)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("group", ["C2", "C3", "C4", "D2", "D3", "D7", "O", "T", "I1", "I4"])
def test_a_symmetric_pair_passes(group: str, seed: int, mask: torch.Tensor) -> None:
    found = symmetry_found(*symmetric(group, seed=seed), mask, group)
    assert found.level in ("has", "untested")
    assert found.sentence is None
    assert all(element.share > 0.8 for element in found.elements)


@pytest.mark.parametrize(("has", "said"), [("C3", "D3"), ("C4", "D4"), ("D3", "C5"), ("D2", "C3"), ("C1", "D7")])
def test_a_group_that_the_pair_does_not_have_is_named(has: str, said: str, mask: torch.Tensor) -> None:
    found = symmetry_found(*symmetric(has), mask, said)
    assert found.level == "lacks"
    assert found.sentence is not None
    assert found.sentence.startswith(f"the half-maps do not have {said}")


def test_a_cone_across_the_axis_is_no_alarm(mask: torch.Tensor) -> None:
    """Halves of a three-fold particle whose noise is worst in a direction that the three-fold turns elsewhere."""
    pair = phantom.phantom_pair(N, 2.0, 6.0, inside=0.03)
    truth = symmetrise(pair.truth, operators("C3"))
    truth = truth * float(pair.truth.std() / truth.std())
    noise = (torch.rot90(half - pair.truth, 1, (0, 2)) for half in (pair.half1, pair.half2))
    found = symmetry_found(*(truth + one for one in noise), mask, "C3")
    assert found.level == "has"


def test_an_axis_beside_the_middle_is_found() -> None:
    first, second = (half.roll((0, 1, -2), (0, 1, 2)) for half in symmetric("C3"))
    found = symmetry_found(first, second, soft_sphere(N, 16.0, 3.0), "C3")
    assert found.level == "lacks"
    beside = found.elements[0].beside_voxels
    assert beside == pytest.approx((-2.0, 1.0, 0.0), abs=0.7)
    assert "beside the middle of the box" in str(found.sentence)


def test_an_axis_on_another_axis_of_the_box_is_named(mask: torch.Tensor) -> None:
    lying = turned_by_90(symmetric("C4"), (0, 1))
    found = symmetry_found(*lying, mask[1:, 1:, 1:], "C4")
    assert found.level == "lacks"
    assert [one.name for one in found.instead] == ["4-fold on y"]


@pytest.mark.parametrize("group", ["C1", "C3"])
def test_no_group_and_too_few_shells_say_nothing(group: str, mask: torch.Tensor) -> None:
    found = symmetry_found(*symmetric("C1"), mask, group, limit_shell=4)
    assert found == SymmetryFound(group, ())
    assert found.level == "untested"
    assert found.sentence is None


def test_pure_noise_says_nothing() -> None:
    generator = torch.Generator().manual_seed(4)
    first, second = (torch.randn(N, N, N, generator=generator) for _ in range(2))
    assert symmetry_found(first, second, None, "D7").sentence is None


@pytest.mark.shared
@pytest.mark.parametrize(
    ("halves", "group", "said"),
    [
        ("c1", "D7", "do not have D7"),
        ("d3_two_fold_y", "D3", "what fits is a 2-fold on y"),
        ("d3_two_fold_y", "D3", "a quarter turn about z mends that"),
        ("d3_two_fold_x", "D3", None),
        ("d3_two_fold_y", "C3", None),
    ],
)
def test_the_reported_pairs_are_told_apart(halves: str, group: str, said: str | None, shared: Path) -> None:
    folder = shared / "data" / "reports" / "symmetry-not-in-the-map"
    if not folder.is_dir():
        pytest.skip("data/reports is not in the shared data folder")
    first, second, inside = (
        torch.from_numpy(mrcfile.read(folder / f"{name}.mrc.gz").astype(np.float32))
        for name in (f"{halves}_half1", f"{halves}_half2", "mask")
    )
    sentence = symmetry_found(first, second, inside, group).sentence
    assert sentence is None if said is None else said in str(sentence)
