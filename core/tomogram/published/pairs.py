"""What IsoNet learns from: subtomograms whose wedge was filled by the network before, turned, and wedged again.

Everything lies on the device and nothing on the disk: a pair is made when a step asks for it. Source: Liu et al. 2022,
doi 10.1038/s41467-022-33957-8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..orientations import Orientation, moving
from ..scale import normalised
from ..wedge import Wedge, filtered
from .measured import measured_weight

_AT_ONCE = 8
"""Subtomograms that are filtered or normalised at a time."""


@dataclass(frozen=True)
class PairPlace:
    """Which pair: a subtomogram by its number, and one of the rotations that move its wedge."""

    subtomogram: int
    orientation: Orientation


class WedgedSubtomograms:
    """Subtomograms on the device, as they were measured and with their wedge filled.

    Parameters
    ----------
    volumes
        (n, c, c, c), protein bright: the files' values times -1. Kept on the device, normalised.
    wedges
        Of each subtomogram.
    cube
        Side of a pair, cut out of the middle after the wedge was applied.
    by_percentile
        How grey values are normalised.

    Raises
    ------
    ValueError
        If there is no subtomogram, a cube is larger than they are, or there is not one wedge for each.
    """

    def __init__(self, volumes: Tensor, wedges: Sequence[Wedge], cube: int, *, by_percentile: bool) -> None:
        if volumes.dim() != 4 or len(wedges) != len(volumes) or not len(volumes):
            raise ValueError(f"{len(wedges)} wedges for subtomograms {tuple(volumes.shape)}")
        if cube > volumes.shape[-1]:
            raise ValueError(f"a cube of {cube} does not fit into subtomograms of {volumes.shape[-1]}")
        self.cube = cube
        self.by_percentile = by_percentile
        kinds = list(dict.fromkeys(wedges))
        device = volumes.device
        self._weights = torch.stack([measured_weight(kind, volumes.shape[-1], device) for kind in kinds])
        self._kind = torch.tensor([kinds.index(wedge) for wedge in wedges])
        self._orientations = [moving(kind) for kind in kinds]
        some = (volumes[start : start + _AT_ONCE] for start in range(0, len(volumes), _AT_ONCE))
        self.measured = torch.cat([normalised(one, by_percentile=by_percentile) for one in some])
        self.filled = torch.empty_like(self.measured)
        self._deviations = torch.stack([one.std(correction=0) for one in self.measured])
        self.fill_from_the_data()

    def __len__(self) -> int:
        """How many subtomograms there are."""
        return len(self.measured)

    @property
    def crop(self) -> int:
        """Side of a subtomogram."""
        return self.measured.shape[-1]

    def places(self) -> list[PairPlace]:
        """Every pair that can be made: 20 of a subtomogram with a symmetric wedge."""
        return [
            PairPlace(number, orientation)
            for number, kind in enumerate(self._kind.tolist())
            for orientation in self._orientations[kind]
        ]

    def fill_from_the_data(self) -> None:
        """Fill with what is taken for the prediction of a network that there is none of yet: the data, filtered."""
        for members in self.parts():
            wedged = filtered(self.measured[members], self._weights_of(members))
            self.fill(members, normalised(wedged, by_percentile=self.by_percentile))

    def parts(self, most: int = _AT_ONCE) -> list[Tensor]:
        """The numbers of all subtomograms, (some,) each, as many as are looked at at a time."""
        return [torch.arange(start, min(start + most, len(self))) for start in range(0, len(self), most)]

    def fill(self, members: Tensor, estimates: Tensor) -> None:
        """Keep what was measured and take the rest from estimates.

        Parameters
        ----------
        members
            Numbers of some subtomograms, (some,).
        estimates
            Of these, (some, c, c, c), normalised.
        """
        self.filled[members] = self.filled_by(members, estimates)

    def filled_by(self, members: Tensor, estimates: Tensor) -> Tensor:
        """What `fill` would keep, (some, c, c, c), normalised."""
        measured = self.measured[members]
        # W m + (1 - W) e, by one transform.
        whole = estimates + filtered(measured - estimates, self._weights_of(members))
        return normalised(whole, by_percentile=self.by_percentile)

    def pairs(self, places: Sequence[PairPlace]) -> tuple[Tensor, Tensor]:
        """What a network is shown and what it should make of it, (b, cube, cube, cube) each.

        The target is the filled subtomogram, turned so that its wedge lies elsewhere; what is shown is the same with a
        wedge where the microscope leaves it. Both are cut down to the cube afterwards, away from the filter's edges.
        """
        numbers = torch.tensor([place.subtomogram for place in places])
        turned = [place.orientation.apply(self.filled[place.subtomogram]) for place in places]
        targets = torch.stack(turned)
        shown = filtered(targets, self._weights_of(numbers))
        start = (self.crop - self.cube) // 2
        inside = slice(start, start + self.cube)
        return shown[:, inside, inside, inside], targets[:, inside, inside, inside]

    def deviations(self, places: Sequence[PairPlace]) -> Tensor:
        """Standard deviation of each pair's subtomogram as it was measured, (b,)."""
        return self._deviations[torch.tensor([place.subtomogram for place in places])]

    def held(self) -> Iterator[Tensor]:
        """Every tensor that lies on the device: subtomograms (n, c, c, c), weights (k, c, c, c // 2 + 1)."""
        yield from (self.measured, self.filled, self._weights, self._deviations)

    def _weights_of(self, numbers: Tensor) -> Tensor:
        kinds = self._kind[numbers]
        return self._weights[kinds.to(self._weights.device)]
