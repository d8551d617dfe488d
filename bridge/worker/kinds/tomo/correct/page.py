"""The page of `tomo.correct`: before and after, power in the wedge, what was held out, and how far to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cryobridge.schemas.kinds.tomo.correct import TomoCorrectJob
from cryobridge.schemas.wedge import WedgeOptions
from cryobridge.wrappers.formats.mrc_windows import MrcWindows

from ....report import figures, methods
from ....report.page import Figure, Judged, Report
from ....report.quantities import angstrom
from ....tomograms import literature
from ....tomograms.ghost_words import ghost_warnings, sectors_told
from ....tomograms.halves import opened_halves
from ....tomograms.made_notes import MadeTomogram
from ....tomograms.row_steps import RowResults
from ....tomograms.shown_tomograms import SHOWN, before_and_after, counted, middle_sections, power_across_y
from ....tomograms.wedge_evidence import TomogramEvidence
from ....tomograms.wedge_trials import How, WedgeTrial

_GOOD, _POOR = 0.5, 0.3
"""Held-out correlation, mean over shells: in simulations with a known truth it was within 0.12 of that in the wedge."""
_TOO_MUCH = 1.1
_OF_NOISE = 0.5
_AS_LARGE = 1.0
"""Of networks' differences over their mean: two of them then correlate by a half at most."""
_WINDOW = 256
_SLICES = 64
_WORDS: dict[How, str] = {
    "untouched": "the network as it came",
    "practised": "trained on these tomograms and on simulated ones",
    "alone": "trained on these tomograms",
    "anew": "a network that learned from these tomograms alone",
}


@dataclass(frozen=True)
class Corrections:
    """All that a job has found, for its page and its result.

    Attributes
    ----------
    tried, members
        Trainings that were compared, and the networks that were used: the best of those, and others like it.
    """

    job: TomoCorrectJob
    learning: WedgeOptions
    evidence: Sequence[TomogramEvidence]
    tried: Sequence[WedgeTrial]
    members: Sequence[WedgeTrial]
    results: RowResults
    remarks: Sequence[str]
    peaks: tuple[int, int | None]
    seconds: Mapping[str, float]

    @property
    def used(self) -> WedgeTrial:
        """The network that did best, of an ensemble the first."""
        return self.members[0]

    @property
    def statements(self) -> list[str]:
        """What a reader must know whatever the result."""
        return [
            "What lies in the missing wedge is the network's guess; details that no tilt has measured are no evidence "
            "by themselves.",
            "Where something was measured, the data decide: what the network took away and both halves agree on was "
            "put back."
            if all(one.evidence.paired for one in self.evidence)
            else "Where something was measured stand the data, as a Wiener filter leaves them.",
            "Never average or measure resolution on corrected tomograms; use them to look, to segment and to pick.",
        ]


def page(found: Corrections, folder: Path) -> Report:
    """Build it from the files that were written."""
    pages: list[Figure] = []
    made = dict(zip((one.name for one, _ in found.results.made), (m for _, m in found.results.made), strict=True))
    for one in [one for one in found.evidence if one.tomogram.name in made][:SHOWN]:
        pages += _of_tomogram(one, made[one.tomogram.name], folder, is_tile=not pages)
    if found.used.losses:
        reading = "It falls and levels off; jumps are where what is filled in was made anew."
        looks, every = found.used.held_out, found.learning.held_out_every
        pages.append(Figure("Loss", figures.loss_curve(found.used.losses, looks, every), reading))
    text = (
        "Tomograms were corrected for the missing wedge by a network that learns to fill a second, artificial wedge "
        f"from what was measured there (the principle of {literature.ISONET.short} and "
        f"{literature.DEEPDEWEDGE.short}), from one half of the data towards the other. Fourier shells were weighted "
        "by the correlation of the halves. Networks were compared by sectors of 20 degrees at the ends of the tilt "
        "range that were not shown at prediction."
    )
    if len(found.members) > 1:
        text += f" The answers of {len(found.members)} networks that were trained from different seeds were averaged."
    paragraphs, references = methods.write([methods.Passage(text, (literature.ISONET, literature.DEEPDEWEDGE))])
    done = len(found.results.made)
    scores = _scores(found)
    told = f"; held-out wedge {min(scores):.2f}" if scores else ""
    return Report(
        title="Missing wedge corrected",
        summary=f"{counted(done, 'tomogram was', 'tomograms were')} corrected by {_WORDS[found.used.how]}{told}.",
        verdict=_verdict(found),
        facts=_facts(found),
        figures=pages,
        statements=[*found.statements, *ensemble_lines(found.members, found.job.options.ensemble)],
        methods=paragraphs,
        warnings=[*found.remarks, *warnings_of(found), *(f"{one.name}: {why}" for one, why in found.results.failed)],
        references=references,
    )


def warnings_of(found: Corrections) -> list[str]:
    """What may be wrong with the tomograms that were made, in sentences."""
    lines = list(found.results.remarks)
    for tomogram, made in found.results.made:
        numbers = made.numbers
        if numbers["held_out"] is not None and numbers["held_out"] < _POOR:
            lines.append(
                f"{tomogram.name}: in held-out sectors the correlation with what was measured is "
                f"{numbers['held_out']:.2f} of 1; do not believe what was filled in"
            )
        if numbers["fill"] > _TOO_MUCH:
            lines.append(
                f"{tomogram.name}: the wedge holds {numbers['fill']:.2f} times the amplitude of the measured part, "
                "more than a specimen of all directions would; something is made up. Try effort 'careful'"
            )
        lines += ghost_warnings(tomogram.name, numbers)
        if numbers["noise_filling"] is not None and numbers["noise_filling"] > _OF_NOISE:
            lines.append(
                f"{tomogram.name}: from noise alone the network fills in {numbers['noise_filling']:.2f} of what it "
                "fills in from the data; much of the fill may be made of noise"
            )
        spread = numbers.get("spread")
        if spread is not None and spread > _AS_LARGE:
            lines.append(
                f"{tomogram.name}: the networks differ by {spread:.2f} times what their mean fills in; nothing that "
                "only one of them shows is to be believed"
            )
    return lines


def ensemble_lines(members: Sequence[WedgeTrial], wanted: int) -> list[str]:
    """What is to be said of an ensemble, one sentence; nothing where none was wanted."""
    if wanted == 1:
        return []
    if len(members) == 1:
        return [
            f"An ensemble of {wanted} was asked for, but the network as it came did better in held-out sectors than "
            "those that were trained; it was used alone."
        ]
    return [
        f"The result is the mean of {len(members)} networks that were trained alike from different seeds; what they "
        "have in common may still be wrong."
    ]


def spreads_of(found: Corrections) -> list[float]:
    """How far the networks of an ensemble differ in each tomogram's wedge, over the amplitude of what is filled in."""
    spreads = (made.numbers.get("spread") for _, made in found.results.made)
    return [spread for spread in spreads if spread is not None]


def held_out_table(results: RowResults) -> str:
    """Curves of every tomogram by shell, as CSV."""
    rows = ["tomogram,frequency_per_A,held_out,agreement,amplitude_filled,filled_agreement"]
    for tomogram, made in results.made:
        numbers = made.numbers
        both = numbers["filled_agreement"] or [float("nan")] * len(numbers["filled"])
        columns = (numbers["held_out_curve"], numbers["held_out_agreement"], numbers["filled"], both)
        for frequency, *values in zip(frequencies_per_A(numbers), *columns, strict=True):
            rows.append(",".join((tomogram.name, f"{frequency:.6f}", *(f"{value:.4f}" for value in values))))
    return "\n".join(rows) + "\n"


def frequencies_per_A(numbers: dict[str, Any] | Any) -> list[float]:
    """The middle of each shell of reduced voxels."""
    step = 1 / (64 * numbers["factor"] * numbers["pixel_size_A"])
    return [(index + 0.5) * step for index in range(len(numbers["filled"]))]


def _scores(found: Corrections) -> list[float]:
    scores = (made.numbers["held_out"] for _, made in found.results.made)
    return [score for score in scores if score is not None]


def _verdict(found: Corrections) -> Judged | None:
    scores, fills = _scores(found), [made.numbers["fill"] for _, made in found.results.made]
    if not scores:
        return None
    worst, fullest = min(scores), max(fills)
    reasons = [
        f"held-out sectors: {worst:.2f} of 1 (good from {_GOOD}, poor below {_POOR})",
        f"amplitude in the wedge: {fullest:.2f} of the measured part's (made up above {_TOO_MUCH})",
    ]
    if worst < _POOR or fullest > _TOO_MUCH:
        return Judged("Do not believe what was filled in", reasons, "bad")
    if worst < _GOOD:
        return Judged("Use with care", reasons, "careful")
    return Judged("The wedge is filled well as far as can be told", reasons, "good")


def _facts(found: Corrections) -> dict[str, str]:
    first = found.evidence[0]
    facts = {
        "tomograms": str(len(found.results.made)),
        "halves": "even and odd" if first.evidence.paired else "none: one map",
        "reduced by": f"{first.evidence.factor} while learning",
        "network": _WORDS[found.used.how],
        "training": f"{len(found.used.losses)} steps, {found.used.seconds:.0f} s" if found.used.losses else "none",
    }
    for one in found.tried:
        score = "cannot be told" if one.score.score is None else f"{one.score.score:.3f}"
        facts[f"held-out wedge, {_WORDS[one.how]}"] = score
    if len(found.members) > 1:
        scores = ["cannot be told" if one.score.score is None else f"{one.score.score:.3f}" for one in found.members]
        facts[f"ensemble of {len(scores)}"] = f"mean of all answers; held-out wedge of each: {', '.join(scores)}"
    for tomogram, made in found.results.made[:20]:
        numbers = made.numbers
        sectors = ", ".join(f"{low:g} to {high:g}" for low, high in numbers["sectors_deg"])
        noise = "" if numbers["noise_filling"] is None else f", from noise alone {numbers['noise_filling']:.2f}"
        held = "cannot be told" if numbers["held_out"] is None else f"{numbers['held_out']:.2f}"
        facts[tomogram.name] = (
            f"tilts {sectors} degrees, {angstrom(numbers['pixel_size_A'])} voxels, held-out wedge {held}, "
            f"filled {numbers['fill']:.2f}{noise}{_differing(numbers)}, {sectors_told(numbers)}"
        )
    host, device = found.peaks
    facts["peak memory"] = f"{host / 1e9:.2f} GB" + ("" if device is None else f", device {device / 1e9:.2f} GB")
    facts["seconds"] = ", ".join(f"{name} {value:.0f}" for name, value in found.seconds.items())
    return facts


def _differing(numbers: Mapping[str, Any]) -> str:
    spread = numbers.get("spread")
    return "" if spread is None else f", networks differ by {spread:.2f} of what is filled in"


def _of_tomogram(one: TomogramEvidence, made: MadeTomogram, folder: Path, *, is_tile: bool) -> list[Figure]:
    tomogram, numbers, after = one.tomogram, made.numbers, folder / made.files[0]
    with opened_halves(tomogram, one.wedge) as halves:
        both = [halves.even.middle_sections(), halves.odd.middle_sections()]
        z, y, x = ((a + b) / 2 for a, b in zip(*both, strict=True))
        before_power = _power(lambda *w: (halves.even.window(*w) + halves.odd.window(*w)) / 2, halves.shape)
        shape = halves.shape
    with MrcWindows(after) as volume:
        after_power = _power(volume.window, shape)
    rows = {"before": (z, y, x), "corrected": middle_sections(after)}
    curves = {"held-out sectors, against the truth": numbers["held_out_curve"]}
    if numbers["paired"]:
        curves["halves with each other, measured part"] = [numbers["agreement"][index] for index in _reduced(numbers)]
        curves["fills of both halves with each other"] = numbers["filled_agreement"]
    curves["amplitude filled, of the measured part's"] = [min(1.5, value) for value in numbers["filled"]]
    return [
        before_and_after(
            tomogram.name,
            rows,
            numbers["pixel_size_A"],
            "Smears along z should be gone in xz and yz; xy should look as before, with less noise.",
            is_tile=is_tile,
        ),
        Figure(
            f"{tomogram.name}: power across the tilt axis",
            figures.wedge_spectra({"before": before_power, "corrected": after_power}, one.wedge.sectors_deg),
            "Between the dashed lines along kz nothing was measured: what is there afterwards is filled in. Another "
            "dark sector, or a bright line, is an artefact.",
        ),
        Figure(
            f"{tomogram.name}: how good it is",
            figures.shell_curves(curves, frequencies_per_A(numbers), "correlation, or ratio", (_POOR, _GOOD)),
            "The first curve estimates how well the wedge is filled. Agreement of the fills flatters: one network made "
            "both.",
            table="held_out.csv",
        ),
    ]


def _reduced(numbers: Any) -> list[int]:
    """The shell of the tomogram's own voxels that each shell of reduced voxels lies in."""
    return [int((index + 0.5) / numbers["factor"]) for index in range(len(numbers["filled"]))]


def _power(window: Any, shape: tuple[int, int, int]) -> torch.Tensor:
    """Logarithm of the mean power of sections across y, (kz, kx) with DC in the middle, of the middle of a tomogram."""
    reads = [min(size, most) for size, most in zip(shape, (_WINDOW, _SLICES, _WINDOW), strict=True)]
    spans = [slice((size - read) // 2, (size - read) // 2 + read) for size, read in zip(shape, reads, strict=True)]
    part = torch.from_numpy(np.asarray(window(*spans)))
    return power_across_y(part)
