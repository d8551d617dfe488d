"""Second wedges that a correction made up: what is noted of them, and the sentence that warns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cryobridge.core.tomogram import SectorRatios

_WHERE = {
    "measured": ("where something was measured", "of the amplitude that the data have there"),
    "filled": ("of what was filled in", "of the amplitude beside it"),
}


def ghost_numbers(ratios: SectorRatios) -> dict[str, Any]:
    """What is noted of a result, as plain JSON values: its emptiest and fullest sectors, and the worst ghost."""
    ghost = ratios.ghost()
    sectors = {"measured": ratios.extremes("measured"), "filled": ratios.extremes("filled")}
    return {
        "sectors": {name: None if two is None else [round(one, 3) for one in two] for name, two in sectors.items()},
        "ghost": None if ghost is None else {**asdict(ghost), "ratio": round(ghost.ratio, 3)},
    }


def ghost_warnings(name: str, numbers: Mapping[str, Any]) -> list[str]:
    """A sentence if the result of a tomogram has a wedge that is none of the data's."""
    ghost = numbers["ghost"]
    if ghost is None:
        return []
    where, of_what = _WHERE[ghost["region"]]
    kind = "a hole" if ghost["ratio"] < 1 else "an excess"
    return [
        f"{name}: the spectrum of the result has {kind} from {ghost['low_deg']:g} to {ghost['high_deg']:g} degrees "
        f"about the axis {ghost['axis']}, {where}, that the data do not explain ({ghost['ratio']:.2f} {of_what}): a "
        "second wedge that the network made up; use another network or another training"
    ]


def sectors_told(numbers: Mapping[str, Any]) -> str:
    """The emptiest and the fullest sectors in words, for the facts of a page."""
    parts = [f"{region} {two[0]:.2f} to {two[1]:.2f}" for region, two in numbers["sectors"].items() if two is not None]
    return "sectors of the spectrum cannot be told" if not parts else f"sectors of the spectrum, {', '.join(parts)}"
