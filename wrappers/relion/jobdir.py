"""What a call may know of its refinement: the small STAR files that RELION wrote before it.

Reads text, knows nothing of maps. RELION 3.1, 4.0 and 5.0 write the same labels for all that is needed here;
files of a few kilobytes are scanned line by line, so that a file of a version to come is no reason to fail.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

MAX_TEXT_BYTES = 4 * 1024 * 1024
_AUTO_LOCAL_HEALPIX_ORDER = 4
"""RELION's default of `--auto_local_healpix_order`: searches at 1.8 deg, with oversampling."""


@dataclass(frozen=True)
class RefinementFacts:
    """What the optimiser, sampling and model files of the previous iteration say.

    Attributes
    ----------
    particles, reference
        What `--i` and `--ref` named when the refinement was started; None where that is not known any more.
    local_healpix_order
        The healpix order, before oversampling, from which auto-refine searches near the last views only; None of a
        run that is no auto-refine.
    """

    command_line: str = ""
    initial_highres_A: float | None = None
    healpix_order: int | None = None
    symmetry: str = "C1"
    solvent_mask: str | None = None
    pixel_size_A: float | None = None
    gradient: bool = False
    sequential_halves: bool = False
    particle_diameter_A: float | None = None
    particles: str | None = None
    reference: str | None = None
    local_healpix_order: int | None = None


def refinement_facts(
    optimiser_start: str | None = None,
    optimiser: str | None = None,
    sampling: str | None = None,
    model: str | None = None,
) -> RefinementFacts:
    """Gather what the texts say; whatever is absent or odd keeps its default.

    Parameters
    ----------
    optimiser_start
        `<root>_it000_optimiser.star`: holds the command line of the run's start.
    optimiser, sampling, model
        The files of the previous iteration. The command line of `optimiser`, that of the latest
        `--continue`, goes before that of `optimiser_start`; `--ini_high` is looked for in both.
    """
    latest = command_line(optimiser or "")
    first = command_line(optimiser_start or "")
    line = latest or first
    values = {**scalars(optimiser_start or ""), **scalars(optimiser or "")}
    mask = values.get("rlnSolventMaskName", "None").strip("\"'")
    return RefinementFacts(
        command_line=line,
        initial_highres_A=_positive(option_value(latest, "--ini_high") or option_value(first, "--ini_high")),
        healpix_order=_integer(scalars(sampling or "").get("rlnHealpixOrder")),
        symmetry=scalars(sampling or "").get("rlnSymmetryGroup", "C1"),
        solvent_mask=None if mask in ("None", "") else mask,
        pixel_size_A=_positive(scalars(model or "").get("rlnPixelSize")),
        gradient=any(values.get(key) == "1" for key in ("rlnDoGradientRefine", "rlnDoStochasticGradientDescent")),
        sequential_halves="--sequential_halves_recons" in line,
        particle_diameter_A=_positive(values.get("rlnParticleDiameter")),
        particles=option_value(first, "--i"),
        reference=option_value(first, "--ref"),
        local_healpix_order=_local_healpix_order(values, latest, first),
    )


def command_line(optimiser_text: str) -> str:
    """RELION's command line: the second comment line of an optimiser file."""
    for line in optimiser_text.splitlines()[:5]:
        if line.startswith("# --"):
            return line[2:].strip()
    return ""


def option_value(line: str, option: str) -> str | None:
    """What follows `option` in a command line up to the next option, or None; RELION quotes no blanks."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if option not in words[:-1]:
        return None
    after = words[words.index(option) + 1 :]
    end = next((i for i, word in enumerate(after) if i > 0 and word.startswith("--")), len(after))
    return " ".join(after[:end])


def scalars(text: str) -> dict[str, str]:
    """All `_label value` pairs of a STAR text's list blocks (first one wins); loops are passed over."""
    found: dict[str, str] = {}
    in_loop = False
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0].startswith("data_"):
            in_loop = False
        elif words[0] == "loop_":
            in_loop = True
        elif not in_loop and words[0].startswith("_") and len(words) > 1:
            found.setdefault(words[0][1:], words[1])
    return found


def _local_healpix_order(values: Mapping[str, str], latest: str, first: str) -> int | None:
    """As the optimiser file says, which keeps it over a `--continue`; else as the command line said."""
    if values.get("rlnDoAutoRefine", "0") != "1" and "--auto_refine" not in f"{latest} {first}".split():
        return None
    option = "--auto_local_healpix_order"
    told = (values.get("rlnAutoLocalSearchesHealpixOrder"), option_value(latest, option), option_value(first, option))
    orders = (_integer(text) for text in told)
    return next((order for order in orders if order is not None and order >= 0), _AUTO_LOCAL_HEALPIX_ORDER)


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
