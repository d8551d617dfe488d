"""Options that kinds of jobs on tilt series have in common."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from .validation import StrictModel


class TiltSeriesOptions(StrictModel):
    """How much an image of a tilt series counts."""

    dose_per_tilt_e_A2: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("dose_per_tilt_e_A2", "dose_per_tilt"),
        description="of tilt series: dose of an image, in electrons per square Angstrom, in place of the table's",
    )
    angle_per_tilt_deg: float | None = Field(
        None,
        gt=0,
        le=30,
        validation_alias=AliasChoices("angle_per_tilt_deg", "angle_per_tilt"),
        description="of tilt series recorded from 0 outwards to both sides: step of the stage, in place of the "
        "table's angles",
    )
    tilt_weights: bool = Field(
        True,
        description="of tilt series: weight images by dose and angle, in place of the table's B-factors and scales",
    )
