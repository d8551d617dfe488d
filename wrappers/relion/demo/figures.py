"""Pictures of the demo's report, each as the text of a PNG that an HTML page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.directional import fsc3d

from .quality import TruthFsc
from .refinement import DemoIteration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_STANDARD, _CORRECTED = "#7f7f7f", "#d95f02"


def orthoslices(maps: Sequence[tuple[str, Array]]) -> str:
    """Central sections of maps: one row each, all with the same grey scale."""
    figure = _figure(7.5, 2.6 * len(maps))
    low, high = np.percentile(maps[-1][1], (0.5, 99.8))
    for row, (name, volume) in enumerate(maps):
        middle = volume.shape[0] // 2
        sections = {"xy": volume[middle], "xz": volume[:, middle], "yz": volume[:, :, middle]}
        for column, (plane, section) in enumerate(sections.items()):
            axes = figure.add_subplot(len(maps), 3, row * 3 + column + 1)
            axes.imshow(section, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
            axes.set_title(f"{name}, {plane}", fontsize=8)
            axes.set_axis_off()
    return _png(figure)


def truth_curves(standard: TruthFsc, corrected: TruthFsc, pixel_size_A: float, last_shell: int) -> str:
    """FSC to the truth before and after: overall, inside and outside the badly sampled cone."""
    figure = _figure(9.0, 3.0)
    shells = np.arange(1, last_shell + 1)
    frequency = shells / (2 * (len(standard.overall) - 1) * pixel_size_A)
    parts = (("overall", "overall"), ("inside", "badly sampled cone"), ("outside", "elsewhere"))
    for k, (attribute, title) in enumerate(parts, 1):
        axes = figure.add_subplot(1, 3, k)
        axes.plot(frequency, getattr(standard, attribute)[shells], color=_STANDARD, label="standard")
        axes.plot(frequency, getattr(corrected, attribute)[shells], color=_CORRECTED, label="corrected")
        axes.set_ylim(-0.1, 1.05)
        axes.set_xlabel("1/Å")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
        if k == 1:
            axes.set_ylabel("FSC to the truth")
            axes.legend(fontsize=8)
    return _png(figure)


def directions(first: Array, second: Array, last_shell: int) -> str:
    """Section ky = 0 of the 3DFSC of two half-maps: how well each direction of Fourier space is measured."""
    n = first.shape[0]
    values = fsc3d(torch.from_numpy(first).float(), torch.from_numpy(second).float(), limit_shell=last_shell + 1)
    half = np.fft.fftshift(values.numpy()[:, 0, :], axes=0)
    section = np.concatenate([np.roll(half[::-1, :0:-1], 1 - n % 2, axis=0), half], axis=1)
    figure = _figure(4.0, 3.4)
    axes = figure.add_subplot()
    reach = n // 2
    image = axes.imshow(section, vmin=0, vmax=1, origin="lower", extent=(-reach, reach, -reach, reach), cmap="viridis")
    axes.set_xlim(-last_shell, last_shell)
    axes.set_ylim(-last_shell, last_shell)
    axes.set_xlabel("kx, shells")
    axes.set_ylabel("kz, shells")
    figure.colorbar(image, ax=axes, label="3DFSC")
    return _png(figure)


def seconds_per_iteration(iterations: Sequence[DemoIteration]) -> str:
    """Wall time of the hooks of every iteration."""
    figure = _figure(5.0, 2.6)
    axes = figure.add_subplot()
    colours = [_CORRECTED if iteration.corrected else _STANDARD for iteration in iterations]
    axes.bar([i.number for i in iterations], [i.seconds for i in iterations], color=colours)
    axes.set_xlabel("iteration (orange: corrected)")
    axes.set_ylabel("s")
    return _png(figure)


def _figure(width_inch: float, height_inch: float) -> Figure:
    # The import takes a second that only those who draw should pay.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="tight")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
