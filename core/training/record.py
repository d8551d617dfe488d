"""What one call of the training has done so far: with the state's tensors, all that is needed to go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryobridge.schemas.training import TrainingOptions


@dataclass
class TrainingRecord:
    """Losses of one call of `train`, which fills it as it goes.

    losses
        Of every step.
    held_out
        Of every look at the samples kept out, one each `held_out_every` steps.
    stopped_early
        Whether the call ended because the held-out loss no longer fell; found anew when a record is given back.
    """

    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def looks_without_better(self) -> int:
        """How many looks at the held-out samples there were since the best one."""
        return len(self.held_out) - 1 - self.held_out.index(min(self.held_out)) if self.held_out else 0

    def is_enough(self, options: TrainingOptions) -> bool:
        """Whether the options say to stop after these looks."""
        return options.patience is not None and self.looks_without_better >= options.patience

    def check(self, steps_done: int, options: TrainingOptions) -> None:
        """Raise ValueError unless it can be the beginning of a call that left a state after `steps_done` steps."""
        done = len(self.losses)
        if done > steps_done:
            raise ValueError(f"the record is of {done} steps, but its network was trained for {steps_done} only")
        looks = done // options.held_out_every if options.held_out else 0
        if len(self.held_out) != looks:
            raise ValueError(
                f"the record holds {len(self.held_out)} looks at held-out samples after {done} steps, "
                f"the options ask for {looks}; it is of a training with other options"
            )
