"""The picture of a training that goes on: what the network makes of the data by now, in the job's folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from torch import Tensor

from cryobridge.core.tomogram import Glimpse
from cryobridge.schemas.outputs import PREVIEW

from ..jobs.context import Context
from ..report import figures
from .shown_tomograms import power_across_y

log = logging.getLogger(__name__)


class LivePreview:
    """Draws `preview.png` now and then; whatever goes wrong with it costs the training nothing.

    Parameters
    ----------
    context
        Of the job; one of several processes that does not lead draws nothing.
    every_s
        Least seconds between the end of one picture and the next; 0 for none.
    voxel_size_A
        Of the volumes that are shown; None if it is not known.
    """

    def __init__(self, context: Context, every_s: float, voxel_size_A: float | None) -> None:
        self._context = context
        self._every_s = every_s if context.leads else 0.0
        self._voxel_size_A = voxel_size_A
        self._drawn = -math.inf
        self._complained = False
        folder = context.folder
        # An earlier attempt at this very job may have left one, and this one may draw none any more.
        if self._every_s > 0 and folder.resumed and (folder.path / PREVIEW.pattern).is_file():
            folder.count_again(PREVIEW.pattern)

    def offer(self, title: str, look: Callable[[], Glimpse]) -> None:
        """Replace the picture if it is time; only then is `look` called, which must leave the training as it is."""
        if self._every_s <= 0 or time.monotonic() - self._drawn < self._every_s:
            return
        try:
            self._context.folder.write_data(PREVIEW.pattern, _picture(title, look(), self._voxel_size_A))
        except Exception as error:  # whatever it is, memory and a full disk among others: the training is worth more
            log.exception("preview")
            if not self._complained:
                self._context.say(f"no preview of the training: {error}")
            self._complained = True
        self._drawn = time.monotonic()


def _picture(title: str, seen: Glimpse, voxel_size_A: float | None) -> bytes:
    """As in the files, protein is dark."""
    rows = {name: _seen_through(-volume) for name, volume in (("measured", seen.before), ("now", seen.now))}
    return figures.wedge_progress(title, rows, seen.wedge.sectors_deg, voxel_size_A)


def _seen_through(volume: Tensor) -> figures.SeenThrough:
    z, y, _ = (side // 2 for side in volume.shape)
    return figures.SeenThrough(volume[z], volume[:, y], power_across_y(volume))
