"""Options of the self-supervised missing-wedge correction of tomograms."""

from __future__ import annotations

from pydantic import Field

from .training import TrainingOptions

KEPT_OUT_CUBES = 16
"""That are kept out of a training which is to end early."""


class WedgeOptions(TrainingOptions):
    """How a network learns to fill the wedge of tomograms, and from how much."""

    learning_rate: float = Field(2e-3, gt=0, le=1, description="of AdamW, at its highest")
    base_width: int = Field(8, ge=2, le=64, description="channels of the network's first level")
    cube_size: int = Field(32, ge=16, le=256, multiple_of=8, description="side of training cubes, reduced voxels")
    steps: int = Field(240, ge=0, description="training steps")
    refill: int = Field(25, ge=1, description="steps after which what is filled in is made anew")
    wedge_weight: float = Field(4.0, ge=0, description="weight of what was taken away")
    measured_weight: float = Field(1.0, ge=0, description="weight of what was measured and seen")
    free_rotations: float = Field(0.5, ge=0, le=1, description="share of cubes turned by any rotation")
