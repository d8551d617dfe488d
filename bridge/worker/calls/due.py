"""Whether a call of RELION is to be corrected, and the line that says why not.

A pure function of what RELION's files say and what the user asked for; the answer goes into RELION's log.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from cryobridge.schemas.codes import Code
from cryobridge.schemas.relion import RelionOptions
from cryobridge.wrappers.relion.jobdir import RefinementFacts, option_value
from cryobridge.wrappers.relion.local_searches import begins_too_late


@dataclass(frozen=True)
class Due:
    """`due`: correct this call once both halves are in. Else `code` and `line` say why it stays standard."""

    due: bool
    code: Code | None = None
    line: str = ""


def decide(
    options: RelionOptions,
    facts: RefinementFacts,
    *,
    half: int,
    iteration: int,
    resolution_A: float | None,
    kind: str = "class",
) -> Due:
    """Decide about one call.

    Parameters
    ----------
    options
        What the user asked for.
    facts
        What RELION's files say.
    half
        1 or 2; 0 for a call that belongs to no half-set.
    iteration
        RELION's iteration number.
    resolution_A
        Where the half-map FSC of this iteration falls below 0.143; None when it never does so or is absent.
    kind
        "class", or "body" of a multi-body refinement.
    """
    if not options.correction:
        return Due(False, Code.OFF, "correction is switched off")
    if facts.gradient:
        return Due(False, Code.GRADIENT, "a gradient refinement is not corrected")
    if half == 0:
        if "--auto_refine" in facts.command_line or "--split_random_halves" in facts.command_line:
            return Due(
                False,
                Code.JOINED,
                "the last, joined reconstruction and its resolution stay RELION's own; to correct its half-maps: "
                f"{_correct_command(facts)}",
            )
        return Due(False, Code.NO_HALF_SETS, "no half-sets here (3D classification), nothing to learn from")
    if kind == "body":
        # The only mask RELION names is the whole particle's, which is not where a body's map has its density.
        return Due(False, Code.MULTI_BODY, "bodies of a multi-body refinement are not corrected")
    if facts.sequential_halves:
        return Due(False, Code.SEQUENTIAL, "--sequential_halves_recons never gives both halves at a time")
    early = _too_early(options, facts, iteration, resolution_A)
    if early is None:
        return Due(True)
    # Once per start of RELION, when there is time left to set another order, and in one half's line.
    late = begins_too_late(options, facts) if half != 2 and _is_new_start(facts, iteration) else None
    return Due(False, Code.NOT_DUE, early if late is None else f"{early}; {late.text}; {late.advice}")


def _is_new_start(facts: RefinementFacts, iteration: int) -> bool:
    """Whether RELION was started lately. A `--continue` is seen in the second iteration after it.

    Before the first, RELION's files hold the command line of the run that is continued.
    """
    continued = re.search(r"_it([0-9]{3,})_optimiser\.star$", option_value(facts.command_line, "--continue") or "")
    return iteration <= 1 or (continued is not None and iteration == int(continued[1]) + 2)


def _too_early(
    options: RelionOptions, facts: RefinementFacts, iteration: int, resolution_A: float | None
) -> str | None:
    """What the refinement has not reached yet; None when a correction is worth its time."""
    if iteration < options.start_iteration:
        return f"correction starts at iteration {options.start_iteration} (now {iteration})"
    if facts.healpix_order is None and options.start_healpix > 0:
        return "the sampling file of the previous iteration cannot be read"
    if facts.healpix_order is not None and facts.healpix_order < options.start_healpix:
        return f"correction starts at healpix order {options.start_healpix} (now {facts.healpix_order})"
    if resolution_A is None:
        return "the two half-maps do not agree at any resolution yet"
    if resolution_A > options.start_resolution_A:
        return f"correction starts at {options.start_resolution_A:g} A (now {resolution_A:.1f} A)"
    return None


def _correct_command(facts: RefinementFacts) -> str:
    """How the user corrects the half-maps that RELION is about to write, in a shell in the project's folder."""
    root = option_value(facts.command_line, "--o") or "run"
    words = ["cryobridge", "map", "correct", *(f"{root}_half{half}_class001_unfil.mrc" for half in (1, 2))]
    if facts.solvent_mask is not None:
        words += ["--mask", facts.solvent_mask]
    if facts.symmetry.upper() != "C1":
        words += ["--symmetry", facts.symmetry]
    return shlex.join([*words, "-o", f"{root}_corrected"])
