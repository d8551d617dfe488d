"""Rules that choose particles by what is known of them: conditions, outlines, nearness, chance."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.conditions import Compared, Condition, Joined, Negated
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from .particle_values import expect_column

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]

_COMPARES: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MOST_OUTLINE_BYTES = 1 << 24
_MOST_CORNERS = 100_000


def meets(condition: Condition, values: Mapping[str, Numbers], count: int) -> Mask:
    """Which of N particles meet a condition, (N,).

    A comparison with what is no number (NaN) does not hold.

    Raises
    ------
    InputInvalid
        If it names a column that is not there.
    """
    match condition:
        case Negated(part):
            return ~meets(part, values, count)
        case Joined(word, parts):
            found = np.stack([meets(part, values, count) for part in parts])
            return np.asarray(found.all(axis=0) if word == "and" else found.any(axis=0), np.bool_)
        case Compared(operands, comparisons):
            read = [expect_column(values, one, "where") if isinstance(one, str) else one for one in operands]
            held = np.ones(count, np.bool_)
            for left, right, sign in zip(read[:-1], read[1:], comparisons, strict=True):
                there = np.isfinite(left) & np.isfinite(right)
                held &= np.asarray(_COMPARES[sign](left, right)) & there
            return held


def inside(outline: Numbers, x: Numbers, y: Numbers) -> Mask:
    """Which points (N,) lie inside a closed outline of corners (C, 2); a point that is no number does not."""
    # The import takes a while that only those who draw an outline should pay.
    from matplotlib.path import Path as Outline

    points = np.stack([x, y], axis=1)
    there: Mask = np.all(np.isfinite(points), axis=1)
    closed = np.concatenate([outline, outline[:1]])
    return np.asarray(Outline(closed).contains_points(np.where(there[:, None], points, 0.0)), np.bool_) & there


def read_outline(path: Path) -> Numbers:
    """Corners (C, 2) of an outline: a JSON list of pairs, or two numbers a line, with or without a line of names.

    Raises
    ------
    InputInvalid
        If it cannot be read, or has fewer than three corners.
    """
    text = read_bounded(path, _MOST_OUTLINE_BYTES, is_a="an outline is a few corners")
    try:
        found = np.array(json.loads(text) if text.lstrip().startswith("[") else _pairs(text), dtype=np.float64)
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        raise InputInvalid(f"{path}: is no outline: it needs two numbers a line, or a JSON list of pairs") from error
    if found.ndim != 2 or found.shape[1] != 2 or not 3 <= len(found) <= _MOST_CORNERS or not np.isfinite(found).all():
        raise InputInvalid(
            f"{path}: is no outline: it needs three corners or more of two numbers each, at most {_MOST_CORNERS}"
        )
    return found


def nearest(latents: NDArray[np.float32], place: tuple[float, ...], count: int, among: Mask) -> Mask:
    """The `count` particles among some (N,) whose latents (N, zdim) are nearest to a place (zdim,).

    Of those that are equally far the first ones.

    Raises
    ------
    InputInvalid
        If the place has another number of dimensions, or one that is no number.
    """
    if len(place) != latents.shape[1] or not all(map(math.isfinite, place)):
        raise InputInvalid(f"nearest_to: should be {latents.shape[1]} numbers, one for each latent dimension")
    far = np.sqrt(((latents.astype(np.float64) - np.array(place)) ** 2).sum(axis=1))
    order = np.argsort(np.where(among, far, np.inf), kind="stable")
    chosen = np.zeros(len(latents), np.bool_)
    chosen[order[: min(count, int(among.sum()))]] = True
    return chosen


def drawn(among: Mask, count: int, seed: int) -> Mask:
    """So many particles at random among some (N,); the same seed draws the same.

    Raises
    ------
    InputInvalid
        If there are fewer.
    """
    members = np.flatnonzero(among)
    if count > len(members):
        raise InputInvalid(f"random: asks for {count} of {len(members)} particles; ask for fewer")
    chosen = np.zeros(len(among), np.bool_)
    chosen[np.random.default_rng(seed).choice(members, count, replace=False)] = True
    return chosen


def _pairs(text: str) -> list[list[float]]:
    lines = [re.split(r"[,;\s]+", line.strip()) for line in text.splitlines() if line.strip()]
    # Names of the axes, as spreadsheets write them.
    if lines and not _is_number(lines[0][0]):
        lines = lines[1:]
    return [[float(word) for word in line] for line in lines]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
