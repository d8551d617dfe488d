"""Figures of tables of particles: how their defoci are spread, and a CTF."""

from __future__ import annotations

from torch import Tensor

from .canvas import COLOURS, Array, array, frequency_axis, png, sheet, tidy


def defocus_histogram(edges_A: Tensor | Array, counts: Tensor | Array) -> bytes:
    """Counts (k,) of particles between edges (k + 1,) of mean defocus in Angstrom, shown in micrometres."""
    edges, heights = 1e-4 * array(edges_A), array(counts)
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    axes.bar(edges[:-1], heights, width=edges[1:] - edges[:-1], align="edge", color=COLOURS[0], alpha=0.8)
    axes.set_xlabel("mean defocus (µm)", fontsize=9)
    axes.set_ylabel("particles", fontsize=9)
    tidy(axes)
    return png(figure)


def ctf_curve(frequency_per_A: Tensor | Array, values: Tensor | Array) -> bytes:
    """A CTF (k,) over spatial frequency (k,) in 1/A."""
    frequency = array(frequency_per_A)
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    axes.plot(frequency, array(values), color=COLOURS[0], linewidth=1.2)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("CTF", fontsize=9)
    frequency_axis(axes, float(frequency[-1]))
    tidy(axes)
    return png(figure)
