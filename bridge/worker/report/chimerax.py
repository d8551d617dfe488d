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


def script(maps: Sequence[tuple[str, float]]) -> str:
    """Return the text of a `.cxc` that opens maps and contours each at its level.

    Parameters
    ----------
    maps
        File name relative to the script's folder, and contour level, from left to right. Maps whose names ChimeraX's
        command line cannot take safely, or whose level is not finite, are left out, and a comment says so.
    """
    shown: list[str] = []
    lines = [
        "# Written by cryobridge. In ChimeraX: open this file. What is open already stays open.",
        "# All levels enclose the same volume. Without the line `tile` the maps lie over each other.",
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
    lines += ["lighting soft", "graphics silhouettes true"]
    everything = " | ".join(f'##name="{called}"' for called in shown)
    if len(shown) > 1:
        lines.append(f"tile {everything} columns {len(shown)}")
    lines.append(f"view {everything}".rstrip())
    return "\n".join(lines) + "\n"


def _called(name: str, number: int) -> str:
    """What a map is called in ChimeraX: a name that no other of the script has, nor hardly any that is open already."""
    words = re.sub(r"[^\w.+-]+", " ", name.rpartition("/")[2]).strip()
    return f"cryobridge {number} {words}"
