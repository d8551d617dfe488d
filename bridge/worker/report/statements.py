"""What every reader must know of the half-maps behind a result: whether they are independent of each other."""

from __future__ import annotations

from typing import Literal

_MODES = {
    "shared": (
        "One network saw both half-maps, so the corrected half-maps are not independent of each other. Their FSC is "
        "not a resolution; quote that of the maps before the correction."
    ),
    "independent": (
        "Each half-map was corrected by a network of its own that never saw the other half. The corrected half-maps "
        "share no data, but they share the method: what it prefers can raise their FSC."
    ),
}
_WEIGHT = (
    "The 3DFSC that both corrections are weighted by is computed from both half-maps; it tells each network how well "
    "directions are measured, not what was measured."
)
_REFERENCE = (
    "Low resolutions of one reference were put into both half-maps; up to {resolution_A:g} Å their FSC says nothing."
)
_PRETRAINED = (
    "The network had been trained before, on data that this job does not know; if it saw the other half-map, the "
    "half-maps are not independent."
)


def independence(
    mode: Literal["shared", "independent"],
    *,
    weight_from_both: bool = False,
    reference_resolution_A: float | None = None,
    pretrained: bool = False,
) -> tuple[str, ...]:
    """Return the statements on half-set independence that belong to how a result was made.

    Parameters
    ----------
    mode
        "shared": one network saw both; "independent": one for each.
    weight_from_both
        Whether independent networks were weighted by a 3DFSC of both half-maps.
    reference_resolution_A
        Up to where a common reference was put into both halves, if there was one.
    pretrained
        Whether the network came from an earlier training.
    """
    lines = [_MODES[mode]]
    if mode == "independent" and weight_from_both:
        lines.append(_WEIGHT)
    if reference_resolution_A is not None:
        lines.append(_REFERENCE.format(resolution_A=reference_resolution_A))
    if pretrained and mode == "independent":
        lines.append(_PRETRAINED)
    return tuple(lines)
