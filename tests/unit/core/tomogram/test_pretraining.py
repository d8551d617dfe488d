"""What counts, and how much, in cubes of random scenes."""

import math

import pytest
import torch

from cryobridge.core.tomogram import ScenePractice
from cryobridge.core.tomogram.pretraining import emphasis_of_truth
from cryobridge.core.tomogram.scene import draw_scene
from cryobridge.core.tomogram.wedge import wedge_weight

SIDE = 40


def whole_radius() -> torch.Tensor:
    line = torch.fft.fftfreq(SIDE)
    return (line[:, None, None].square() + line[None, :, None].square() + line[None, None, :].square()).sqrt()


@pytest.mark.parametrize("number", range(3))
def test_scenes_of_all_contrasts_count_alike(number: int) -> None:
    scene = draw_scene(3, number, SIDE)
    weight = emphasis_of_truth(scene).of(whole_radius())
    power = torch.fft.fftn(scene.truth, norm="ortho").abs().square()
    assert math.isclose(float((power * weight).mean()), (SIDE // 2 + 1) / SIDE, rel_tol=1e-3)


def test_every_shell_counts_by_the_root_of_its_agreement_whatever_it_holds() -> None:
    scene = draw_scene(3, 1, SIDE)
    r = whole_radius()
    power = torch.fft.fftn(scene.truth, norm="ortho").abs().square()
    weighed = power * emphasis_of_truth(scene).of(r)
    counted, held = [], []
    for low in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35):
        shell = (r >= low) & (r < low + 0.05)
        agreement = scene.agreement.of(torch.tensor([low + 0.025]))
        counted.append(float(weighed[shell].sum() / agreement.sqrt()))
        held.append(float(power[shell].sum() / agreement.sqrt()))
    assert max(counted) < 1.6 * min(counted)
    # The control: without the emphasis shells differ many times.
    assert max(held) > 4 * min(held)


def test_shells_in_which_the_halves_agree_in_nothing_do_not_count() -> None:
    scene = draw_scene(3, 1, SIDE)
    silent = scene.agreement.values <= 0.02
    assert bool((emphasis_of_truth(scene).values[silent] == 0).all())
    assert bool((emphasis_of_truth(scene).values[~silent] > 0).all())


def test_what_is_missing_counts_partly_as_it_is() -> None:
    by_shells, half, plain = (ScenePractice(5, 2, 32, part)(7) for part in (0.0, 0.5, 1.0))
    assert torch.equal(by_shells["kept"], plain["kept"])
    assert torch.equal(by_shells["seen"], plain["seen"])
    torch.testing.assert_close(half["hidden"], (by_shells["hidden"] + plain["hidden"]) / 2)
    scene = draw_scene(5, 14, 40)
    missing = 1 - wedge_weight(scene.wedge, (32, 32, 32))
    expected = missing / scene.truth.square().mean()
    torch.testing.assert_close(plain["hidden"][0, 0], expected)
