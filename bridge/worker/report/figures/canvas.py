"""What all figures share: an empty sheet, colours that everybody can tell apart, axes in Angstrom, and the PNG.

Figures are made without pyplot, so nothing is global and several threads may draw. They are white: they go into
papers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..printable import printable, shortened
from .encoding import as_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Okabe & Ito's colours, without the yellow that is lost on white. Line styles tell curves apart in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
LINES = ("-", "-", "-", "--", "-", "-.", ":")
BEFORE, AFTER, QUIET = "#6B7280", "#D55E00", "#B8BEC7"
DPI = 150
MAX_BYTES = 300_000
MAX_SHOWN = 512
_LABEL_CHARACTERS = 44
_MARGIN_INCH = 0.07


def sheet(width_inch: float, height_inch: float) -> Figure:
    """Return an empty figure."""
    # The import takes a second that only those who draw should pay.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=_MARGIN_INCH, h_pad=_MARGIN_INCH)
    return Figure(figsize=(width_inch, height_inch), layout=layout, facecolor="white")


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG at 150 dpi, or coarser where noise would make the file large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    for dpi in (DPI, 120, 96, 72, 54):
        figure.set_dpi(dpi)
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        picture = as_png(np.asarray(drawn)[:, :, :3])
        if len(picture) <= MAX_BYTES:
            break
    return picture


def label(text: str) -> str:
    """Return text from outside as matplotlib shows it as it is: no formulae, no name that a legend would leave out."""
    shown = shortened(printable(text), _LABEL_CHARACTERS).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def array(values: torch.Tensor | Array | list[float] | tuple[float, ...]) -> Array:
    """Return numbers (...) from wherever they are, float64 of the same shape."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def shown_size(section: Array) -> Array:
    """Return a section (h, w) as it is, or averaged over squares of voxels where it has more than 512 on a side."""
    step = math.ceil(max(section.shape) / MAX_SHOWN)
    if step <= 1:
        return section
    height, width = (size - size % step for size in section.shape)
    blocks = section[:height, :width].reshape(height // step, step, width // step, step)
    result: Array = blocks.mean(axis=(1, 3))
    return result


def tidy(axes: Axes, title: str = "") -> None:
    """Take away what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(color="#000000", alpha=0.08, linewidth=0.6)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, fontsize=9, loc="left")


def frequency_axis(axes: Axes, highest: float, *, squared: bool = False) -> None:
    """Put spatial frequency (1/A, or its square) below, from 0 to `highest`, and the resolution in Angstrom above."""
    axes.set_xlim(0.0, highest)
    axes.set_xlabel("1/d² (1/Å²)" if squared else "spatial frequency (1/Å)", fontsize=9)
    above = axes.secondary_xaxis("top")
    places, names = resolution_ticks(highest, squared=squared)
    above.set_xticks(places, names)
    above.tick_params(labelsize=8)
    above.spines["top"].set_visible(False)
    above.set_xlabel("resolution (Å)", fontsize=9)


def resolution_ticks(highest: float, *, squared: bool = False) -> tuple[list[float], list[str]]:
    """Return places on a frequency axis and the round resolutions in Angstrom that belong there, not too close."""
    power = 2 if squared else 1
    round_numbers = [m * 10.0**e for e in range(-1, 4) for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]
    places: list[float] = []
    names: list[str] = []
    for resolution_A in sorted(round_numbers):
        place = resolution_A**-power
        if place > highest * 1.0001 or (places and places[-1] - place < 0.085 * highest) or place < 0.03 * highest:
            continue
        places.append(place)
        names.append(f"{resolution_A:g}")
    return places, names
