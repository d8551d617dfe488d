"""Pixels of a set's images, read from their stacks in as few and as long runs as there are."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.image_stack import ImageStack
from .particle_set import ParticleSet

_GAP_BYTES, _RUN_BYTES = 256 << 10, 32 << 20
"""A gap of less is read with what is around it, for a second read costs more; a run is read in pieces of so much."""


def read_images(particles: ParticleSet, members: NDArray[np.int64]) -> NDArray[np.float32]:
    """Images as they are stored.

    Parameters
    ----------
    members
        (K,) which of the set's, in any order, repeats allowed.

    Returns
    -------
    (K, box, box) float32 in the order of `members`; y, x.

    Raises
    ------
    InputInvalid
        If a stack cannot be read, is not what it was, or an image holds what is no number.
    """
    images = np.empty((len(members), particles.box, particles.box), np.float32)
    stack, number = particles.stack[members], particles.number[members]
    order = np.lexsort((number, stack))
    bounds = np.flatnonzero(np.diff(stack[order], prepend=-1, append=-1))
    for first, last in itertools.pairwise(bounds):
        at = order[first:last]
        with ImageStack(particles.stacks[stack[at[0]]]) as opened:
            if opened.box != particles.box or number[at[-1]] >= opened.count:
                raise InputInvalid(f"{opened.path}: is not the stack that it was when the job began; leave it alone")
            _fill(images, opened, at, number[at])
    return images


def _fill(images: NDArray[np.float32], stack: ImageStack, at: NDArray[np.int64], number: NDArray[np.int64]) -> None:
    """Read the images of a stack whose numbers (K,) rise, each to its place."""
    image_bytes = 4 * stack.box**2
    gap, most = max(1, _GAP_BYTES // image_bytes), max(1, _RUN_BYTES // image_bytes)
    start = 0
    while start < len(number):
        end = int(np.searchsorted(number, number[start] + most))
        jumps = np.flatnonzero(np.diff(number[start:end]) > gap)
        if len(jumps):
            end = start + int(jumps[0]) + 1
        first = int(number[start])
        run = stack.read(first, int(number[end - 1]) - first + 1)
        wanted = run[number[start:end] - first]
        _expect_finite(wanted, stack, number[start:end])
        images[at[start:end]] = wanted
        start = end


def _expect_finite(images: NDArray[np.float32], stack: ImageStack, number: NDArray[np.int64]) -> None:
    # A sum that is finite says so of all its terms, and takes a tenth of the time.
    with np.errstate(over="ignore", invalid="ignore"):
        doubtful = np.flatnonzero(~np.isfinite(images.sum(axis=(1, 2))))
    for index in doubtful:
        if not np.isfinite(images[index]).all():
            raise InputInvalid(
                f"{stack.path}: image {number[index] + 1} holds NaN or infinite values; leave the particle out, or "
                "extract it again"
            )
