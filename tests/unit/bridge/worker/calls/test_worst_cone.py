"""The agreement in the worst cone is a figure for people: it says what it is worth, and costs no correction."""

from types import SimpleNamespace

import pytest
import torch

from cryobridge.bridge.worker.calls import correct


@pytest.mark.parametrize(
    ("mode", "begins_pretrained", "why"),
    [
        ("shared", True, "one network saw both"),
        ("shared", False, "one network saw both"),
        ("independent", True, "halves share one network's training"),
        ("independent", False, "networks filled in both"),
    ],
)
def test_the_log_never_gives_corrected_halves_as_a_resolution(mode, begins_pretrained, why):
    said = correct._agreement(0.21, 0.40, SimpleNamespace(mode=mode), begins_pretrained=begins_pretrained)
    assert "raw sums 0.21; corrected halves 0.40, no resolution: " + why in said


@pytest.mark.parametrize("broken", [RuntimeError("CUDA out of memory"), float("nan")])
def test_a_measurement_that_fails_leaves_the_maps(monkeypatch, broken):
    def measured(*_arguments):
        if isinstance(broken, Exception):
            raise broken
        return broken

    monkeypatch.setattr(correct, "cone_agreement", measured)
    volume = torch.zeros(8, 8, 8)
    ready = SimpleNamespace(box=8, voxel_size_A=2.0, limit_A=5.0, halves=(volume, volume), mask=volume)
    directions = SimpleNamespace(vectors=torch.eye(3), worst=0)
    assert correct._worst_cone(ready, directions, [volume, volume]) is None
    assert correct._cone_figures(None) == {}
