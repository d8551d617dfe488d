"""The page of a training straight from tomograms: loss, a part before and after, the held-out wedge, what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.tomogram import NAME, WIDTH, SignalEvidence, TomogramBlock, corrected
from cryobridge.core.training import runner
from cryobridge.schemas.kinds.tomo.refine import TomoRefineJob, TomoRefineOptions
from cryobridge.schemas.wedge import WedgeOptions

from ....report import figures, methods
from ....report.page import Figure, Report
from ....report.quantities import counted
from ....tomograms import literature
from ....tomograms.shown_tomograms import PLANES
from ....tomograms.wedge_evidence import TomogramEvidence
from ....tomograms.wedge_network import StoredWedgeNetwork
from ....tomograms.wedge_trials import WedgeTrial
from .report import STATEMENT

_GOOD, _POOR = 0.5, 0.3
"""Held-out correlation, mean over shells, as on the page of `tomo.correct`."""
_WORDS = {
    "isonet2": "from one map of each tomogram",
    "n2n": "from one half of each tomogram towards the other",
    "n2n-mw": "from one half of each tomogram towards the other, with more weight on the missing wedge",
}
_CTF = {
    "none": "",
    "phase_only": " Phases were flipped by the contrast transfer function of each tomogram's defocus.",
    "wiener": " Before that, tomograms were deconvolved by a Wiener filter of the contrast transfer function of each "
    "one's defocus.",
    "network": " Phases were flipped by the contrast transfer function of each tomogram's defocus, and the network's "
    "answers multiplied by its absolute value before they were compared.",
}


@dataclass(frozen=True)
class WedgeFindings:
    """What a training straight from tomograms found.

    Attributes
    ----------
    options, learning
        With every default filled in; of the steps that were taken now.
    losses
        Of every step, those before 'continue_from' among them as far as they are known.
    shown
        Part of the first tomogram as it was measured and as it is corrected, (z, y, x) each in reduced voxels, bright
        where dense.
    """

    job: TomoRefineJob
    options: TomoRefineOptions
    learning: WedgeOptions
    evidence: Sequence[TomogramEvidence]
    trial: WedgeTrial
    losses: Sequence[float]
    shown: tuple[Tensor, Tensor]
    pixel_size_A: float | None
    remarks: Sequence[str]

    @property
    def kept_out(self) -> dict[int, float]:
        """Losses of cubes that were kept out, by the step after which they were looked at."""
        before, every = len(self.losses) - len(self.trial.losses), self.learning.held_out_every
        return {before + every * look: loss for look, loss in enumerate(self.trial.held_out, 1)}

    @property
    def warnings(self) -> list[str]:
        """What may be wrong with the network."""
        score = self.trial.score.score
        if score is None:
            return ["Nothing could be compared in held-out sectors: the halves agree too little there."]
        if score < _POOR:
            return [
                f"In held-out sectors the correlation with what was measured is {score:.2f} of 1; do not believe what "
                "this network fills in: train longer, or use 'tomo correct', which begins with a trained network."
            ]
        return []

    @property
    def metrics(self) -> dict[str, Any]:
        """Numbers for the result."""
        score = self.trial.score
        return {
            "tomograms": len(self.evidence),
            "reduced_by": self.evidence[0].evidence.factor,
            "cube_size_reduced": self.learning.cube_size,
            "loss_first": round(self.losses[0], 5) if self.losses else None,
            "loss_last": round(self.losses[-1], 5) if self.losses else None,
            "loss_kept_out": round(self.trial.held_out[-1], 5) if self.trial.held_out else None,
            "held_out": None if score.score is None else round(score.score, 4),
            "held_out_amplitude": None if score.power_ratio is None else round(score.power_ratio, 4),
            "seconds_of_training": round(self.trial.seconds, 1),
        }


def preview(
    stored: StoredWedgeNetwork, learning: WedgeOptions, block: TomogramBlock, evidence: SignalEvidence
) -> tuple[Tensor, Tensor]:
    """A block before and after, (z, y, x) each on the host, bright where dense, its margins left out."""
    device = block.halves.device
    learned = stored.learned(learning, device)
    with torch.no_grad(), learned.named[NAME].averaged(learning) as network:
        run = runner(network, learning.model_copy(update={"precision": "float32"}), device)
        after = torch.fft.irfftn(corrected(run, block, evidence).spectrum, s=block.shape)
    inside = tuple(slice(block.margin, side - block.margin) for side in block.shape)
    return block.halves.mean(0)[inside].cpu(), after[inside].cpu()


def loss_table_of_steps(losses: Sequence[float], kept_out: Mapping[int, float]) -> str:
    """Losses by step, as CSV, and of cubes that were kept out where there are some."""
    if not kept_out:
        return "".join(["step,loss\n", *(f"{step},{loss:.6g}\n" for step, loss in enumerate(losses, 1))])
    looks = {step: f"{loss:.6g}" for step, loss in kept_out.items()}
    rows = (f"{step},{loss:.6g},{looks.get(step, '')}\n" for step, loss in enumerate(losses, 1))
    return "".join(["step,loss,loss_kept_out\n", *rows])


def held_out_table(found: WedgeFindings) -> str:
    """What was put into held-out sectors against what was measured there, by shell, as CSV."""
    score = found.trial.score
    rows = ["frequency_per_A,held_out,agreement"]
    columns = zip(_frequencies_per_A(found), score.curve.values, score.agreement.values, strict=True)
    rows += [f"{frequency:.6f},{float(held):.4f},{float(agrees):.4f}" for frequency, held, agrees in columns]
    return "\n".join(rows) + "\n"


def wedge_page(found: WedgeFindings) -> Report:
    """Build the page."""
    options, score = found.options, found.trial.score
    paragraphs, references = methods.write([_passage(found)])
    before, after = (_sections(-one) for one in found.shown)
    curves = {"held-out sectors, against the truth": score.curve.values}
    if found.evidence[0].evidence.paired:
        curves["halves with each other, there"] = score.agreement.values
    held = "cannot be told" if score.score is None else f"{score.score:.2f}"
    return Report(
        title="Missing-wedge refinement",
        summary=f"{counted(len(found.losses), 'step')} ({options.method}) on "
        f"{counted(len(found.evidence), 'tomogram')}; held-out wedge {held}.",
        facts=_facts(found),
        figures=[
            Figure(
                "Part of a tomogram, measured and corrected",
                figures.section_rows({"measured": before, "corrected": after}, PLANES, _voxel_A(found)),
                "As in the files, protein is dark. Where the network filled the wedge, objects end as sharply along "
                "the beam (z) as across it.",
                is_tile=True,
            ),
            Figure(
                "Loss",
                _loss_curve(found),
                _loss_reading(found),
                table="loss.csv",
            ),
            Figure(
                "Held-out wedge",
                figures.shell_curves(curves, _frequencies_per_A(found), "correlation", (_POOR, _GOOD)),
                "An end of the tilt range was not shown to the network, and what it puts there is compared with what "
                "was measured.",
                table="held_out.csv",
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=[*found.remarks, *found.warnings],
        references=references,
    )


def _loss_curve(found: WedgeFindings) -> bytes:
    every = found.learning.held_out_every
    # The figure counts looks from the first step on, and there were none before this job.
    earlier = (len(found.losses) - len(found.trial.losses)) // every
    looks = [float("nan")] * earlier + found.trial.held_out if found.trial.held_out else []
    return figures.loss_curve(found.losses, looks, every)


def _loss_reading(found: WedgeFindings) -> str:
    words = "It falls and levels off; jumps are where what is filled in was made anew."
    looks = found.trial.held_out
    if not looks:
        return words
    return (
        f"{words} Cubes that were kept out are shown unfilled, and the same at every look, so that their loss is "
        f"another; it was lowest at look {looks.index(min(looks)) + 1} of {len(looks)}, and where it rises the network "
        "learns what is true of its cubes only."
    )


def _facts(found: WedgeFindings) -> dict[str, str]:
    options, learning = found.options, found.learning
    sectors = dict.fromkeys(
        " and ".join(f"{low:g} to {high:g} degrees" for low, high in one.wedge.sectors_deg) for one in found.evidence
    )
    kept_out = {}
    if learning.held_out:
        early = "" if len(found.trial.losses) == learning.steps else ", which ended the training"
        kept_out["kept out"] = f"{learning.held_out} cubes, looked at every {learning.held_out_every} steps{early}"
    return {
        "table": str(found.job.inputs.subtomos),
        "tilts": ", ".join(sectors),
        "reduced by": f"{found.evidence[0].evidence.factor} while learning",
        "cubes": f"{learning.cube_size} reduced voxels a side, {learning.batch} a step",
        "network": f"{learning.base_width} channels",
        "weight of the wedge": f"{learning.wedge_weight:g}",
        "CTF": str(options.ctf_mode),
        "sharpened by": f"{options.bfactor:g} A^2",
        "learning rate": f"{learning.learning_rate:g}",
        **kept_out,
    }


def _passage(found: WedgeFindings) -> methods.Passage:
    options, learning = found.options, found.learning
    text = (
        f"A U-Net was trained for {counted(len(found.losses), 'step')} of {learning.batch} cubes to fill a second, "
        f"artificial wedge from what was measured there (the principle of {literature.ISONET.short} and "
        f"{literature.DEEPDEWEDGE.short}), {_WORDS[str(options.method)]}. Squared errors where the second wedge had "
        f"taken something away counted {learning.wedge_weight:g} times as much as elsewhere, "
        f"{learning.free_rotations:.0%} of cubes were turned by random angles, the others by rotations of the cube, "
        "and Fourier shells were weighted by how much signal they hold. Sectors at the ends of the tilt range that "
        f"were not shown at prediction tell how well the wedge is filled.{_CTF[options.ctf_mode]}"
    )
    if options.bfactor > 0:
        text += f" Tomograms were sharpened by a B-factor of {options.bfactor:g} A^2 as far as there was signal."
    return methods.Passage(text, (literature.ISONET, literature.DEEPDEWEDGE))


def _sections(volume: Tensor) -> list[Tensor]:
    z, y, x = (side // 2 for side in volume.shape)
    return [volume[z], volume[:, y], volume[:, :, x]]


def _voxel_A(found: WedgeFindings) -> float:
    return (found.pixel_size_A or 1.0) * found.evidence[0].evidence.factor


def _frequencies_per_A(found: WedgeFindings) -> list[float]:
    return [(shell + 0.5) * WIDTH / _voxel_A(found) for shell in range(len(found.trial.score.curve.values))]
