"""What the demo found: a table for the terminal and one self-contained HTML page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.fourier import last_shell

from . import figures
from .particles import Particles
from .quality import CONE_HALF_ANGLE_DEG, TruthFsc, fsc_to_truth
from .refinement import DemoIteration
from .specimen import low_passed, solvent_mask

Array = NDArray[np.float64]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}pre{background:#f5f5f5;padding:1rem;overflow:auto}"
)


@dataclass(frozen=True)
class Comparison:
    """Standard against answered maps of one iteration, halves averaged, inside the solvent mask."""

    standard: TruthFsc
    answered: TruthFsc
    last_shell: int

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """(where, standard, answered): mean FSC to the truth over the shells in use."""
        names = ("overall", f"within {CONE_HALF_ANGLE_DEG:.0f}° of z (badly sampled)", "elsewhere")
        return list(zip(names, self.standard.means(self.last_shell), self.answered.means(self.last_shell), strict=True))


def compare(iteration: DemoIteration, particles: Particles) -> Comparison:
    """Measure one iteration's maps against the truth, up to the resolution that its half-maps reached."""
    recipe = particles.recipe
    mask = solvent_mask(particles.truth)
    reached = last_shell(recipe.box, recipe.pixel_size_A, iteration.resolution_A)
    standard, answered = (
        fsc_to_truth((pair[0] + pair[1]) / 2, particles.truth, mask)
        for pair in (iteration.standard, iteration.answered)
    )
    return Comparison(standard, answered, reached)


def iteration_line(iteration: DemoIteration, comparison: Comparison) -> str:
    """One line for the terminal."""
    _, before, after = comparison.rows[1]
    return (
        f"iteration {iteration.number}: {'corrected' if iteration.corrected else 'standard map':12s} "
        f"{iteration.resolution_A:5.1f} A, answered in {iteration.seconds:6.1f} s; "
        f"FSC to truth in the badly sampled cone {before:.3f} -> {after:.3f}"
    )


def first_and_later(iterations: Sequence[DemoIteration]) -> tuple[float, float] | None:
    """Seconds of the first corrected iteration and mean of the later ones; None without both."""
    seconds = [iteration.seconds for iteration in iterations if iteration.corrected]
    return (seconds[0], float(np.mean(seconds[1:]))) if len(seconds) > 1 else None


def summary(iterations: Sequence[DemoIteration], comparison: Comparison) -> str:
    """The last iteration's figures, for the terminal."""
    lines = [f"{'mean FSC to the truth':42s} standard  corrected"]
    lines += [f"  {name:40s} {before:8.3f}  {after:9.3f}" for name, before, after in comparison.rows]
    took = first_and_later(iterations)
    if took is not None:
        lines.append(f"first correction {took[0]:.1f} s, later ones {took[1]:.1f} s on average")
    return "\n".join(lines)


def page(iterations: Sequence[DemoIteration], comparisons: Sequence[Comparison], particles: Particles) -> str:
    """The report as HTML; holds everything it shows."""
    recipe = particles.recipe
    last, comparison = iterations[-1], comparisons[-1]
    means = [(pair[0] + pair[1]) / 2 for pair in (last.standard, last.answered)]
    truth = low_passed(particles.truth, recipe.pixel_size_A, last.resolution_A)
    slices = figures.orthoslices(
        [("standard", means[0]), ("corrected", means[1]), (f"truth to {last.resolution_A:.0f} Å", truth)]
    )
    curves = figures.truth_curves(comparison.standard, comparison.answered, recipe.pixel_size_A, comparison.last_shell)
    directional = figures.directions(*last.standard, comparison.last_shell)
    times = figures.seconds_per_iteration(iterations)
    took = first_and_later(iterations)
    took_text = (
        f"The first correction took {took[0]:.1f} s, the later ones {took[1]:.1f} s on average: the daemon "
        "and its network are there already."
        if took
        else "Fewer than two iterations were corrected, so nothing can be said of later ones."
    )
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{before:.3f}</td><td>{after:.3f}</td></tr>"
        for name, before, after in comparison.rows
    )
    per_iteration = "".join(
        f"<tr><td>{i.number}</td><td>{i.stage.healpix_order}</td><td>{i.stage.error_deg:g}</td>"
        f"<td>{i.resolution_A:.1f}</td><td>{'yes' if i.corrected else 'no'}</td><td>{i.seconds:.1f}</td>"
        f"<td>{c.rows[1][1]:.3f}</td><td>{c.rows[1][2]:.3f}</td></tr>"
        for i, c in zip(iterations, comparisons, strict=True)
    )
    logs = html.escape("".join(f"--- iteration {i.number}\n{i.log}" for i in iterations))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>cryobridge demo</title>
<style>{_STYLE}</style>
<h1>A small refinement with preferred orientation</h1>
<p>{recipe.n_particles} simulated particles (box {recipe.box}, {recipe.pixel_size_A:g} Å per pixel, CTF, noise), most
of them seen along z, so a cone about z is badly sampled in Fourier space. In every iteration the sums of both
half-sets went through the real hook, daemon and worker, as RELION would hand them over.</p>
<p><b>What this does not show:</b> the views are the true ones with an error that shrinks from iteration to
iteration; they do not depend on the maps. Only a real RELION run shows what better maps do to the views.
The solvent mask was made from the truth, where a user would make it from a map.
The same pre-trained network fills both halves, so the FSC between corrected half-maps is no measure of resolution,
even where neither half is told anything of the other; all figures here are against the known truth.</p>
<h2>Before, after, truth</h2>
<p>Sections of the last iteration's maps, halves averaged, one grey scale.</p><img src="data:image/png;base64,{slices}">
<h2>FSC to the truth, last iteration</h2>
<table><tr><th>mean over the shells in use</th><th>standard</th><th>corrected</th></tr>{rows}</table>
<img src="data:image/png;base64,{curves}">
<h2>Which directions were measured</h2>
<p>3DFSC of the two standard half-maps in the plane of x and z: dark towards kz is what the preferred orientation
left unmeasured.</p><img src="data:image/png;base64,{directional}">
<h2>Iterations</h2>
<table><tr><th>iteration</th><th>healpix order</th><th>error of views, °</th><th>half-map FSC 0.143, Å</th>
<th>corrected</th><th>seconds</th><th>cone, standard</th><th>cone, answered</th></tr>{per_iteration}</table>
<p>{took_text}</p><img src="data:image/png;base64,{times}">
<h2>RELION's log would hold</h2><pre>{logs}</pre></html>
"""
