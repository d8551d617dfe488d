"""Maps that are true, filtered or untouched follow the data; invented, moved, mirrored and rescaled ones do not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from cryobridge.core.diagnosis import Consistency, consistency
from cryobridge.core.fourier import apply_filter, expand, forward, inverse, lowpass, radial_sum
from cryobridge.core.relion import PairQuality, pair_quality
from cryobridge.core.volume import phantom

N, VOXEL_A = 48, 2.0
Maps = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A pair with a badly sampled cone, what is known of it, and another protein's density at the signal's power."""

    pair: phantom.PhantomPair
    quality: PairQuality
    other: torch.Tensor

    def both(self, first: torch.Tensor, second: torch.Tensor | None = None) -> Consistency:
        """Judge corrected halves, the same one twice if there is one."""
        pair, quality = self.pair, self.quality
        last = round(N * VOXEL_A / quality.resolution_A)
        corrected = first, first if second is None else second
        return consistency((pair.half1, pair.half2), corrected, pair.mask, quality.directions, last)

    @property
    def cone(self) -> torch.Tensor:
        """1 inside the cone."""
        return phantom.cone_regions(self.pair, guard_deg=0.0)[0].float()


@pytest.fixture(scope="module", params=[(7, 0.02), (3, 0.05), (5, 0.2)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    seed, inside = request.param
    pair = phantom.phantom_pair(N, VOXEL_A, 5.5, inside=inside, seed=seed)
    truth, other = (forward(one * pair.mask) for one in (pair.truth, phantom.phantom_pair(N, VOXEL_A, seed=77).truth))
    gain = (radial_sum(truth.abs().square(), N) / radial_sum(other.abs().square(), N)).sqrt()
    density = inverse(other * expand(gain.float(), N), N)
    return Case(pair, pair_quality(pair.half1, pair.half2, pair.mask, VOXEL_A), density)


def test_the_halves_themselves_change_nothing(case: Case) -> None:
    found = case.both(case.pair.half1, case.pair.half2)
    assert found.level == "follows"
    for part in (found.worst, found.badly, found.well):
        assert part.gain == pytest.approx(1.0, abs=1e-6)
        assert part.kept == pytest.approx(1.0, abs=1e-6)
    assert found.scale == pytest.approx(1.0, abs=1e-6)
    assert found.power == pytest.approx(found.power_before)


def test_the_truth_predicts_the_data_better_than_they_predict_each_other(case: Case) -> None:
    found = case.both(case.pair.truth)
    assert found.level == "follows"
    assert found.badly.gain > 1.2
    assert found.well.gain > 1.0
    assert found.well.agreement == pytest.approx(1.0, abs=0.05)


def test_a_filtered_map_and_one_filled_with_truth_follow(case: Case) -> None:
    pair = case.pair
    assert case.both(pair.standard1, pair.standard2).level == "follows"
    fill = 0.6 * apply_filter(pair.truth, 1 - pair.gain)
    found = case.both(pair.standard1 + fill, pair.standard2 + fill)
    assert found.level == "follows"
    assert found.badly.gain > 1.1


def test_density_that_is_added_everywhere_contradicts(case: Case) -> None:
    pair = case.pair
    found = case.both(pair.half1 + case.other, pair.half2 + case.other)
    assert found.level == "contradicts"
    assert found.well.gain < 0.85


def test_density_in_the_cone_only_contradicts(case: Case) -> None:
    pair, cone = case.pair, case.cone
    found = case.both(
        *(apply_filter(half, 1 - cone) + apply_filter(case.other, cone) for half in (pair.half1, pair.half2))
    )
    assert found.level == "contradicts"
    assert found.badly.level == "contradicts"
    assert found.well.gain > found.badly.gain + 0.3
    assert any("badly measured directions" in finding.sentence for finding in found.findings)


def test_false_density_beside_filtered_data_is_noticed(case: Case) -> None:
    pair = case.pair
    false = apply_filter(case.other, case.cone)
    assert case.both(pair.standard1 + false, pair.standard2 + false).level != "follows"


def test_halves_that_agree_with_each_other_prove_nothing(case: Case) -> None:
    assert case.both(case.other).level == "contradicts"


def test_a_moved_map_and_a_mirrored_one_are_named(case: Case) -> None:
    pair = case.pair
    moved = case.both(pair.half1.roll(2, 1), pair.half2.roll(2, 1))
    assert [one.sentence for one in moved.findings][:1] == [
        "The corrected map is moved by 0, 2, 0 voxels (x, y, z) against the half-maps."
    ]
    mirrored = case.both(*(half.flip(0).roll(1, 0) for half in (pair.half1, pair.half2)))
    assert mirrored.findings[0].sentence == "The corrected map is mirrored along z against the half-maps."


@pytest.mark.parametrize("factor", [3.0, 0.4])
def test_another_grey_scale_is_said(case: Case, factor: float) -> None:
    found = case.both(factor * case.pair.half1, factor * case.pair.half2)
    assert found.level == "care"
    assert "another grey scale" in found.findings[0].sentence
    assert found.scale == pytest.approx(factor, rel=1e-5)
    assert found.badly.gain == pytest.approx(1.0, abs=1e-5)


def test_a_smoothed_map_is_said(case: Case) -> None:
    found = case.both(*(lowpass(half, VOXEL_A, 12.0) for half in (case.pair.half1, case.pair.half2)))
    assert found.level != "follows"


def test_where_nothing_is_measured_nothing_is_said() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second, made = (torch.randn(24, 24, 24, generator=generator) for _ in range(3))
    quality = pair_quality(first, second, None, VOXEL_A)
    found = consistency((first, second), (made, made), None, quality.directions, 3)
    assert found.level == "follows"
    assert found.badly.gain != found.badly.gain
