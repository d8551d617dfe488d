"""The page of a refine: losses, a subtomogram before and after, what was done."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from cryobridge.schemas.kinds.tomo.refine import TomoRefineJob, TomoRefineOptions

from ....report import figures, methods, readings
from ....report.page import Figure, Report
from ....report.quantities import counted, in_digits
from ....tomograms import literature
from .subtomograms import LoadedSubtomograms

STATEMENT = (
    "What lies in the missing wedge is the network's guess from what it has seen elsewhere; details that no tilt has "
    "measured are no evidence by themselves."
)
_RISEN = 0.05
"""Ours: looks at pairs kept out differ by as much."""


@dataclass(frozen=True)
class RefineFindings:
    """What a refine found.

    Attributes
    ----------
    options
        With every default filled in.
    history
        What became of each iteration.
    shown
        A subtomogram as it was measured and as it was filled last, (c, c, c) each, protein bright.
    """

    job: TomoRefineJob
    options: TomoRefineOptions
    loaded: LoadedSubtomograms
    history: Sequence[Mapping[str, Any]]
    shown: tuple[Tensor, Tensor]

    @property
    def losses(self) -> list[float]:
        """Of every epoch."""
        return [float(loss) for one in self.history for loss in one.get("losses", ())]

    @property
    def held_out(self) -> list[float]:
        """Of pairs kept out, after every epoch."""
        return [float(loss) for one in self.history for loss in one.get("held_out", ())]

    @property
    def metrics(self) -> dict[str, Any]:
        """Numbers for the result."""
        losses, held_out = self.losses, self.held_out
        return {
            "subtomograms": len(self.loaded.volumes),
            "cube_size": self.loaded.cube,
            "crop_size": self.loaded.crop,
            "iterations": self.options.iterations,
            "loss_first": round(losses[0], 5) if losses else None,
            "loss_last": round(losses[-1], 5) if losses else None,
            "held_out": round(held_out[-1], 5) if held_out else None,
            "seconds_of_training": round(sum(float(one.get("seconds", 0.0)) for one in self.history), 1),
        }


def loss_table(history: Sequence[Mapping[str, Any]]) -> str:
    """Losses by iteration and epoch, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["iteration", "epoch", "noise_level", "loss", "held_out"])
    for one in history:
        looks = one.get("held_out", [])
        for epoch, loss in enumerate(one.get("losses", []), 1):
            look = f"{looks[epoch - 1]:.6g}" if epoch <= len(looks) else ""
            writer.writerow([one["iteration"], epoch, f"{one['noise_level']:g}", f"{loss:.6g}", look])
    return text.getvalue()


def page_of(found: RefineFindings) -> Report:
    """Build the page."""
    options, loaded = found.options, found.loaded
    reading = _reading(found.history)
    paragraphs, references = methods.write([_passage(found)])
    pixel_A = loaded.pixel_size_A
    measured, filled = found.shown
    return Report(
        title="Missing-wedge refinement",
        summary=f"{counted(options.iterations, 'iteration')} on {counted(len(loaded.volumes), 'subtomogram')} of "
        f"{loaded.crop} voxels a side.",
        facts={
            "subtomograms": str(found.job.inputs.subtomos),
            "cube and crop": f"{loaded.cube} and {loaded.crop} voxels",
            "voxel size": "unknown" if pixel_A is None else f"{pixel_A:g} A",
            "tilts": ", ".join(dict.fromkeys(_range(one.sectors_deg) for one in loaded.wedges)),
            "network": f"{options.unet_depth} levels, {options.filter_base} channels, {options.convs_per_depth} "
            "convolutions a level",
            "batch": f"{options.batch_size}, {options.steps_per_epoch} steps an epoch, {options.epochs} epochs",
            "noise": _schedule(options),
        },
        figures=[
            Figure("Loss", _curve(found), reading, table="loss.csv"),
            Figure(
                "A subtomogram, measured and filled",
                figures.orthoslices({"measured": -measured, "filled": -filled}, pixel_A or 1.0),
                "As in the files, protein is dark. Where the network filled the wedge, objects end as sharply along "
                "the beam (z) as across it.",
                is_tile=True,
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=readings.alarms([reading]),
        references=references,
    )


def _curve(found: RefineFindings) -> bytes:
    losses, held_out = found.losses, found.held_out
    curves = {"pairs that were shown": np.array(losses)}
    if len(held_out) == len(losses):
        curves["pairs kept out"] = np.array(held_out)
    return figures.over_epochs(list(range(1, len(losses) + 1)), {"mean absolute error": curves})


def _reading(history: Sequence[Mapping[str, Any]]) -> readings.Reading:
    """Read the last iteration: one with more noise has another loss than those before."""
    last = history[-1]
    losses, held_out = last["losses"], last["held_out"]
    words = (
        f"Epochs of all iterations, one after the other. In the last iteration the loss went from "
        f"{in_digits(losses[0], 4)} to {in_digits(losses[-1], 4)}"
    )
    if len(held_out) > 1 and held_out[-1] > min(held_out) * (1 + _RISEN):
        return readings.Reading(
            f"{words}, but that of pairs kept out was lowest in epoch {held_out.index(min(held_out)) + 1} and rose "
            "after it: fewer epochs, or 'patience', may do better.",
            warns=True,
        )
    return readings.Reading(f"{words}.")


def _passage(found: RefineFindings) -> methods.Passage:
    options = found.options
    text = (
        f"The missing wedge was filled by the iterative method of IsoNet ({literature.ISONET.short}): in each of "
        f"{counted(options.iterations, 'iteration')} a U-Net was trained for {counted(options.epochs, 'epoch')} to "
        "restore subtomograms, turned by the rotations that move the wedge, from what a wedge leaves of them (mean "
        f"absolute error, Adam, learning rate {options.learning_rate:g}, batches of {options.batch_size}), after the "
        "wedge of each had been filled by the network of the iteration before."
    )
    if _schedule(options) != "none":
        text += (
            f" Noise as of back-projection ({options.noise_mode}) was added to what the network was shown, "
            f"{_schedule(options)}, as parts of the standard deviation of the data."
        )
    return methods.Passage(text, (literature.ISONET,))


def _schedule(options: TomoRefineOptions) -> str:
    steps = [
        f"{level:g} from iteration {start} on"
        for start, level in zip(options.noise_starts, options.noise_levels, strict=True)
        if level > 0 and start <= options.iterations
    ]
    return ", ".join(steps) or "none"


def _range(sectors: Sequence[tuple[float, float]]) -> str:
    return " and ".join(f"{low:g} to {high:g} degrees" for low, high in sectors)
