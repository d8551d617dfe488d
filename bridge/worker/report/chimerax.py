"""A command script (`.cxc`) for ChimeraX that shows the maps of a job side by side at fair contour levels.

ChimeraX runs such a script in the script's own folder, whatever the working directory is, so files are named relative
to it. A user may have other models open: none is closed, and since nobody knows which numbers are free, maps are
told by their names. File names know quotes there but no escapes (`quote_path_if_necessary` in its cli.py), so a name
either is harmless or is left out.

References
----------
Meng et al. 2023, doi 10.1002/pro.4792.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .figures.canvas import AFTER, BEFORE, COLOURS
from .printable import printable

# Letters and digits of any script, and punctuation that means nothing to ChimeraX: no quotes, no wildcards,
# no semicolon, no colon (databases), no backslash. A name must start with a letter, a digit or an underscore, or with
# ../ or ./, and have a map's ending, so that it can be no option and nothing to be fetched.
_HARMLESS = re.compile(r"(?:\.{1,2}/)*\w[\w .+\-=,@%()/]*\.(?:mrc|map|mrcs)(?:\.(?:gz|bz2))?", re.IGNORECASE)
_MAP_COLOURS = (BEFORE, AFTER, *COLOURS)
_LIGHT = ("lighting soft", "graphics silhouettes true")


def script(maps: Sequence[tuple[str, float]]) -> str:
    """Return the text of a `.cxc` that opens maps side by side and contours each at its level.

    Parameters
    ----------
    maps
        File name relative to the script's folder, and contour level, from left to right. Maps whose names ChimeraX's
        command line cannot take safely, or whose level is not finite, are left out, and a comment says so.
    """
    shown, lines = _opened(maps, "Without the line `tile` the maps lie over each other.")
    lines += _LIGHT
    if len(shown) > 1:
        lines.append(f"tile {_named(shown)} columns {len(shown)}")
    lines.append(f"view {_named(shown)}".rstrip())
    return "\n".join(lines) + "\n"


def series(maps: Sequence[tuple[str, float]]) -> str:
    """Return the text of a `.cxc` that opens maps one over the other, with a slider that shows one after the other.

    Parameters
    ----------
    maps
        As for `script`, in their order.
    """
    shown, lines = _opened(maps, "The slider, or its button, shows one map after the other.")
    lines += [*_LIGHT, f"view {_named(shown)}".rstrip()]
    if len(shown) > 1:
        # Of a run without windows the last line fails, and nothing is lost.
        lines.append(f"mseries slider {_named(shown)}")
    return "\n".join(lines) + "\n"


def _opened(maps: Sequence[tuple[str, float]], note: str) -> tuple[list[str], list[str]]:
    """What the maps are called, and the lines that open and contour them."""
    shown: list[str] = []
    lines = [
        "# Written by cryobridge. In ChimeraX: open this file. What is open already stays open.",
        f"# All levels enclose the same volume. {note}",
    ]
    for name, level in maps:
        if not (_HARMLESS.fullmatch(name) and math.isfinite(level)):
            lines.append(f"# left out, because its name or level cannot be given to ChimeraX: {printable(name)}")
            continue
        shown.append(_called(name, len(shown) + 1))
        colour = _MAP_COLOURS[(len(shown) - 1) % len(_MAP_COLOURS)]
        lines += [
            f'open "{name}" name "{shown[-1]}"',
            f'volume ##name="{shown[-1]}" style surface step 1 level {level:.6g} color {colour}',
        ]
    return shown, lines


def _named(shown: Sequence[str]) -> str:
    return " | ".join(f'##name="{called}"' for called in shown)


def _called(name: str, number: int) -> str:
    """What a map is called in ChimeraX: a name that no other of the script has, nor hardly any that is open already."""
    words = re.sub(r"[^\w.+-]+", " ", name.rpartition("/")[2]).strip()
    return f"cryobridge {number} {words}"
