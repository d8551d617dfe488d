"""What is said of controls: each threshold has its sentence, and nothing is said where nothing was passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cryobridge.bridge.worker.heterogeneity.reality import (
    SubspaceControls,
    half_of,
    may_not_be_concluded,
    verdict_of,
    warnings_of,
)
from cryobridge.core.subspace import AgainstNoise, Split

NOTHING = {"defocus": torch.tensor([0.01, 0.0])}


def controls(
    first: float = 13.0,
    second: float = 1.0,
    halves: float = 0.98,
    poses: float = 0.3,
    contrast: float = 0.01,
    split: float = 0.6,
    power: float = 0.04,
) -> SubspaceControls:
    agreement = torch.tensor([0.1, 0.1, 0.8, 0.9])
    return SubspaceControls(
        AgainstNoise(torch.tensor([first, second]), torch.tensor([1.0, 0.9])),
        torch.tensor([halves, 0.2]),
        0.25,
        torch.tensor([power, 0.01]),
        torch.tensor([poses, 0.1]),
        torch.tensor([contrast, 0.0]),
        agreement,
        Split(0.5, split),
    )


def test_good_controls_have_no_warning():
    assert warnings_of(controls(), NOTHING) == []
    verdict = verdict_of(controls(), NOTHING)
    assert (verdict.words, verdict.colour) == ("1 mode above noise", "good")
    assert verdict_of(controls(second=4.0), NOTHING).words == "2 modes above noise"


def test_nothing_is_said_to_be_nothing_whatever_else_there_is():
    found = controls(first=1.2, poses=0.9, halves=0.3)
    assert found.kept == 0
    assert not found.poses_doubted
    assert verdict_of(found, NOTHING).words == "nothing found"
    (only,) = warnings_of(found, {"defocus": torch.tensor([0.9, 0.9])})
    assert only.startswith("Nothing was found")


def test_what_both_halves_find_is_weak_evidence_where_no_mode_is_above_noise():
    found = controls(first=1.2, halves=0.69)
    assert found.is_weak
    assert verdict_of(found, NOTHING).words == "nothing above noise, but both halves agree"
    (only,) = warnings_of(found, NOTHING)
    assert "weak evidence" in only
    assert not controls(first=1.2, halves=0.45).is_weak


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"halves": 0.3}, "halves of the particles do not agree"),
        ({"poses": 0.86}, "what small errors of poses look like"),
        ({"power": 0.0038}, "interpolation between voxels leaves as much"),
        ({"contrast": 0.97}, "Mode 1 is mostly the consensus itself"),
        ({"split": 0.95}, "2 of 4 images agree with the consensus so much less"),
    ],
)
def test_each_threshold_has_its_sentence(wrong: dict[str, float], words: str):
    found = controls(**wrong)
    (only,) = warnings_of(found, NOTHING)
    assert words in only
    assert verdict_of(found, NOTHING).colour in ("careful", "bad")


def test_wrong_poses_are_the_verdict():
    assert verdict_of(controls(poses=0.86), NOTHING).words == "may be wrong poses"


def test_a_latent_that_goes_with_the_microscope_is_named():
    (only,) = warnings_of(controls(), {"defocus": torch.tensor([0.42, 0.9])})
    assert "Latent 1 goes with the defocus, which explains 42% of its variance" in only


def test_a_mode_that_is_no_more_than_noise_is_not_looked_at():
    assert warnings_of(controls(), {"defocus": torch.tensor([0.0, 0.9])}) == []


def test_junk_is_below_the_split_if_it_is_clear():
    assert controls(split=0.95).junk.tolist() == [0, 1]
    assert controls().junk.tolist() == []


def test_numbers_are_in_the_table_and_in_words():
    header, first, second = controls().table().splitlines()
    assert header.split(",")[3] == "over_first_of_null"
    assert first.split(",")[:4] == ["1", "13", "1", "13"]
    assert second.startswith("2,1,")
    assert "13.0 times" in verdict_of(controls(), NOTHING).reasons[0]
    assert controls().metrics()["modes_above_noise"] == 1


def test_the_reach_is_stated():
    assert "17.5 Å" in may_not_be_concluded(11, 64, 3.0)[0]


def test_a_mode_of_both_halves_is_kept_though_junk_hides_it_in_the_noise():
    hidden = replace(controls(), halves=torch.tensor([0.99, 0.95]), by_chance=0.5)
    assert (hidden.kept, hidden.shared, hidden.worth_keeping) == (1, 2, 2)
    assert "Both halves have 2 modes" in verdict_of(hidden, NOTHING).reasons[2]
    by_chance = replace(hidden, by_chance=0.8)
    assert (by_chance.shared, by_chance.worth_keeping) == (0, 1)


def test_halves_have_no_object_in_common_whatever_the_order_of_their_images() -> None:
    for object_of in (torch.arange(41 * 6) // 41, torch.arange(41 * 6) % 6, torch.tensor([7, 3, 7, 9, 3, 9, 9, 1])):
        first, second = (object_of[half_of(len(object_of), half, object_of)] for half in (0, 1))
        assert not torch.isin(first, second).any()
        assert len(first) + len(second) == len(object_of)
        assert abs(len(first.unique()) - len(second.unique())) <= 1


def test_without_objects_halves_are_every_second_image() -> None:
    assert half_of(5, 1, None).tolist() == [1, 3]
    assert half_of(5, 0, torch.zeros(5, dtype=torch.long)).tolist() == [0, 2, 4]


def test_a_mode_hardly_above_noise_that_the_halves_do_not_have_is_nothing():
    """As in one of three sets of one state alone."""
    hardly = controls(first=1.55, halves=0.15)
    assert (hardly.noise.kept, hardly.kept) == (1, 0)
    verdict = verdict_of(hardly, NOTHING)
    assert verdict.words == "nothing found"
    assert "taken for noise" in verdict.reasons[2]
    assert controls(first=1.55, halves=0.9).kept == 1
    assert controls(first=8.0, halves=0.15).kept == 1
