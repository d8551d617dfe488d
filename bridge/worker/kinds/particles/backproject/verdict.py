"""Whether poses and CTF fit the images, in words."""

from __future__ import annotations

import math

from ....heterogeneity.streaming import StreamedImages
from ....report.page import Judged
from ....report.quantities import angstrom, in_digits
from .found import Backprojected

_FIT, _UNSURE, _NO_FIT = "Poses and CTF fit these images", "Look closer", "Poses or CTF do not fit these images"


def judged(images: StreamedImages, found: Backprojected) -> Judged:
    """The verdict, with what it rests on."""
    reasons = [_of_poses(images), *([] if images.poses_fit is False else [_of_resolution(found)])]
    if images.poses_fit is False:
        return Judged(_NO_FIT, reasons, "bad")
    if images.poses_fit is None or not math.isfinite(found.resolution_A):
        return Judged(_UNSURE, reasons, "careful")
    return Judged(_FIT, reasons, "good")


def _of_poses(images: StreamedImages) -> str:
    probe = images.probe
    if probe is None or images.poses_fit is None:
        return "There are too few images to tell poses that fit from poses dealt out at random."
    given = max(probe.agreement, probe.flipped)
    quoted = "" if images.poses_fit else " No resolution is quoted; the maps are written all the same."
    return (
        f"Half-maps of {probe.images} images agree with a mean FSC of {in_digits(given)} with the poses as given, and "
        f"of {in_digits(probe.shuffled)} with the same poses dealt out at random.{quoted}"
    )


def _of_resolution(found: Backprojected) -> str:
    if not math.isfinite(found.resolution_A):
        return (
            "The half-maps agree in no shell: these are too few images to quote a resolution; the maps are written all "
            "the same."
        )
    return f"The half-maps of all images agree to {angstrom(found.resolution_A)} (FSC 0.143)."
