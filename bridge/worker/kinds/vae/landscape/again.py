"""Volumes that are gone through several times: kept where they fit, decoded again where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cryobridge.schemas.kinds.vae.landscape import MOST_KEPT_BYTES

from ....heterogeneity.decoding import decoded
from ....heterogeneity.finishing import Finishing
from ....heterogeneity.run_folder import LatentRun
from ....heterogeneity.series import Series

_HALF_BYTES = 2


class VolumesAgain:
    """The finished volumes of a series, bright, in their order, as often as they are asked for.

    Kept in float16 on the CPU from the first time on, if all of them fit into 6 GB.

    Parameters
    ----------
    write
        Takes each volume's number and the volume as it is finished, the first time.
    """

    def __init__(
        self,
        run: LatentRun,
        series: Series,
        finishing: Finishing,
        device: torch.device,
        write: Callable[[int, Tensor], None] | None = None,
    ) -> None:
        self._run = run
        self._series = series
        self._finishing = finishing
        self._device = device
        self._keeps = _HALF_BYTES * len(series.z) * finishing.box**3 <= MOST_KEPT_BYTES
        self._kept: list[tuple[Tensor, float]] = []
        self._write = write

    def __iter__(self) -> Iterator[Tensor | None]:
        """Each volume (n, n, n) on the device; None now and then in between, for whoever waits."""
        if self._kept:
            for half, scale in self._kept:
                yield half.to(self._device).float() * scale
            return
        kept: list[tuple[Tensor, float]] = []
        number = 0
        for raw in decoded(self._run.model, self._series.latents, self._device):
            if raw is None:
                yield None
                continue
            volume = self._finishing.of(raw)
            if self._write is not None:
                self._write(number, volume)
            number += 1
            # Density that was made dark is compared bright, or no mask holds it.
            bright = -volume if self._finishing.invert else volume
            if self._keeps:
                scale = max(float(bright.abs().max()), 1e-30)
                kept.append(((bright / scale).half().cpu(), scale))
            yield bright
        # Only a pass that came to its end has all of them.
        self._kept, self._write = kept, None
