"""Options that go with the network that was trained on simulated half-maps, on any device: it is small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Effort = Literal["quick", "standard", "careful"]

PRETRAINED: dict[str, Any] = {
    "preset": "tiny",
    "norm": "none",
    "see_mask": True,
    "cube_size": 32,
    "crop_size": 64,
    "learning_rate": 1e-3,
    "free_rotations": 0.0,
    "precision": "float32",
}
EFFORTS: dict[Effort, dict[str, Any]] = {
    "quick": {"steps": 0, "warm_steps": 0, "practice": 0.0, "average_turns": 1},
    "standard": {"steps": 60, "warm_steps": 60, "practice": 1.0, "average_turns": 4},
    "careful": {"steps": 300, "warm_steps": 100, "practice": 1.0, "average_turns": 8},
}
_LENGTHS = ("steps", "warm_steps", "epochs", "n_subvolume")
_SHAPE = ("preset", "norm", "see_mask")


def another_shape(chosen: Mapping[str, Any]) -> bool:
    """Whether options ask for a network of another shape than the pre-trained one."""
    return any(name in chosen and chosen[name] != PRETRAINED[name] for name in _SHAPE)


def options_of(effort: Effort, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The pre-trained network's options with an effort, where some are chosen: a length of training asks for one.

    The effort that has none then gives way to the standard one, which says how a training goes but for its length.
    """
    asked = any(chosen.get(name) for name in _LENGTHS)
    return {**PRETRAINED, **EFFORTS["standard" if asked and effort == "quick" else effort]}
