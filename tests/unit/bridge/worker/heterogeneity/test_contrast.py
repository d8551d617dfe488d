"""What is decided and said after a quick backprojection."""

from __future__ import annotations

from typing import Any

import pytest

from cryobridge.bridge.worker.heterogeneity.contrast import ContrastFound, contrast_of
from cryobridge.core.particles import ImageProbe


def found(
    skewness: float = 2.0, chosen: Any = "auto", stated: Any = None, *, has_ctf: bool = True, **measures: Any
) -> ContrastFound:
    every = {"images": 1000, "half_skewness": (skewness, skewness), "agreement": 0.6, "flipped": 0.4, "shuffled": 0.2}
    return contrast_of(ImageProbe(skewness=skewness, **(every | measures)), chosen, stated, has_ctf=has_ctf)


@pytest.mark.parametrize(
    ("skewness", "chosen", "stated", "contrast", "doubt"),
    [
        (2.0, "auto", None, "bright", None),
        (-2.0, "auto", None, "dark", None),
        (2.0, "auto", "bright", "bright", None),
        (-2.0, "auto", "bright", "dark", "the table says that they are bright"),
        (0.1, "auto", "dark", "dark", "could not be told"),
        (0.1, "auto", None, "bright", "the table does not say"),
        (2.0, "dark", None, "dark", "as asked for"),
        (-2.0, "dark", "bright", "dark", None),
        (0.1, "dark", None, "dark", None),
    ],
)
def test_contrast_is_never_guessed_silently(
    skewness: float, chosen: str, stated: str | None, contrast: str, doubt: str | None
) -> None:
    result = found(skewness, chosen, stated)
    assert result.contrast == contrast
    assert [doubt is not None and doubt in line for line in result.doubts] == ([] if doubt is None else [True])
    assert result.poses_fit is True
    if chosen == "auto":
        assert result.remarks


def test_half_maps_of_opposite_skewness_are_weak_evidence() -> None:
    assert "could not be told" in found(half_skewness=(2.0, -0.5)).doubts[0]


def test_poses_that_do_no_better_than_shuffled_ones_do_not_fit() -> None:
    result = found(agreement=0.22, flipped=0.2)
    assert result.poses_fit is False
    assert "is noise" in result.doubts[-1]


def test_few_images_say_nothing_of_poses() -> None:
    assert found(images=10, agreement=0.2).poses_fit is None


def test_flipped_phases_are_found_where_there_is_a_ctf() -> None:
    assert found(flipped=0.8).flipped
    assert "already" in found(flipped=0.8).doubts[-1]
    assert not found(flipped=0.8, has_ctf=False).flipped
    assert found(agreement=0.2, flipped=0.5).poses_fit is True
