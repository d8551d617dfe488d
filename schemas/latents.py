"""Latents as users write them: numbers in a list or in one word, and grids along axes of the latent space."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from .validation import short
from .values import FixedValues

MOST_VOLUMES = 10_000
"""Of one job."""
_MOST_AXES = 4
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?"
_AXIS = re.compile(rf"(pc|z)([1-9]\d{{0,3}})(?::({_NUMBER})(%?):({_NUMBER})(%?)(?::(\d{{1,5}}))?)?", re.IGNORECASE)


class GridAxis(FixedValues):
    """An axis of a grid of latents.

    is_component
        Whether it is a principal component of the particles' latents, or a number of the latent itself.
    number
        Which, from 1 on.
    low, high
        Where it begins and ends.
    in_percent
        Whether these are percentiles of the particles, or values.
    count
        Points along it; None where the job says it for all.
    """

    is_component: bool
    number: int
    low: float = 5.0
    high: float = 95.0
    in_percent: bool = True
    count: int | None = None


def grid_axis(text: str) -> GridAxis:
    """Read `pc1`, `z3:-2:2`, `pc2:1%:99%:7`.

    Raises
    ------
    ValueError
        If it is written otherwise, or its ends are no percentiles where they should be.
    """
    found = _AXIS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{short(text)} is no axis; write e.g. pc1, z3:-2:2 or pc2:1%:99%:7")
    kind, number, low, low_percent, high, high_percent, count = found.groups()
    is_component = kind.lower() == "pc"
    if low is None:
        return GridAxis(is_component, int(number))
    if bool(low_percent) != bool(high_percent):
        raise ValueError(f"{short(text)}: one end is a percentile, the other is not; give both with % or both without")
    axis = GridAxis(
        is_component, int(number), float(low), float(high), bool(low_percent), None if count is None else int(count)
    )
    if axis.in_percent and not (0 <= axis.low <= 100 and 0 <= axis.high <= 100):
        raise ValueError(f"{short(text)}: percentiles lie between 0% and 100%")
    return axis


def _listed(value: object) -> object:
    """A list out of one word, as a command line has it."""
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value.strip(" []()")) if part]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _axes(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(texts) <= _MOST_AXES:
        raise ValueError(f"a grid has 1 to {_MOST_AXES} axes")
    axes = [grid_axis(text) for text in texts]
    if len({(axis.is_component, axis.number) for axis in axes}) < len(axes):
        raise ValueError("an axis is named twice")
    if len({axis.is_component for axis in axes}) > 1:
        raise ValueError("axes are all principal components (pc1), or all numbers of the latent (z1)")
    return texts


def _some(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= len(numbers) <= MOST_VOLUMES:
        raise ValueError(f"1 to {MOST_VOLUMES} numbers are needed")
    if min(numbers) < 0:
        raise ValueError("particles are counted from 0")
    return numbers


LatentValue = Annotated[tuple[float, ...], BeforeValidator(_listed)]
"""A latent: a list, or one word such as 0.1,-2."""
Members = Annotated[tuple[int, ...], AfterValidator(_some), BeforeValidator(_listed)]
"""Numbers of particles, from 0 on: a list, or one word such as 3,17."""
Grid = Annotated[tuple[str, ...], AfterValidator(_axes), BeforeValidator(_listed)]
"""Axes of a grid, see `grid_axis`: a list, or one word such as pc1,pc2."""
