"""Whether a refinement's correction would begin only when RELION searches locally, and what to set instead.

Auto-refine looks for each view over the whole sphere until its healpix order (before oversampling) reaches
`--auto_local_healpix_order`, and near the last view from then on. A view that is astray is found again only by the
first kind of search, so a correction that begins with the second comes too late for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryobridge.schemas.relion import SETTINGS_NAME, RelionOptions

from .jobdir import RefinementFacts


@dataclass(frozen=True)
class TooLate:
    """That a correction begins too late, and what to set; neither ends in a full stop."""

    text: str
    advice: str


def begins_too_late(options: RelionOptions, facts: RefinementFacts) -> TooLate | None:
    """Say why a correction could not bring astray views back, and what to set.

    Parameters
    ----------
    options
        What the user asked for.
    facts
        What RELION's files say; without a `local_healpix_order` there is nothing to say.

    Returns
    -------
    TooLate or None
        None where the correction begins while RELION searches globally, or is off.
    """
    local = facts.local_healpix_order
    if not options.correction or facts.gradient or local is None or options.start_healpix < local:
        return None
    text = (
        f"correction would begin in local searches (healpix order {options.start_healpix}; RELION searches locally "
        f"from {local} on), which never find astray views again"
    )
    if local == 0:
        return TooLate(text, f"raise RELION's --auto_local_healpix_order above {options.start_healpix}")
    return TooLate(text, f"set start_healpix: {local - 1} in {SETTINGS_NAME}")
