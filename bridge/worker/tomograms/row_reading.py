"""How rows of a table are read for a network that learns straight from tomograms, and for its answers later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryobridge.core.tomogram import Wedge
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import volume_paths

from .halves import HalvesOfTomogram, Source, opened_halves
from .row_contrast import CtfMode, contrast_of


@dataclass(frozen=True)
class RowReading:
    """What of a row is read, and what is done about its contrast transfer.

    Attributes
    ----------
    is_ctf_flipped
        The phases of the tilts were flipped before.
    clips_first_peak
        See `ContrastTransfer`.
    """

    source: Source
    ctf_mode: CtfMode = "none"
    is_ctf_flipped: bool = False
    clips_first_peak: bool = True

    @classmethod
    def of_training(cls, options: TomoRefineOptions) -> RowReading:
        """How a training straight from tomograms reads, of options that are filled in."""
        source: Source = "halves"
        if options.method == "isonet2":
            source = "deconvolved" if options.use_deconv_tomo and options.ctf_mode == "none" else "whole"
        return cls(source, options.ctf_mode, options.is_ctf_flipped, options.clip_first_peak_mode > 0)

    def for_prediction(self, tomogram: Tomogram, *, use_deconv_tomo: bool) -> RowReading:
        """How a row is read for the network's answer: as in its training, but with both halves where there are any."""
        if self.source == "deconvolved" and use_deconv_tomo and tomogram.deconv is not None:
            return self
        return dataclasses.replace(self, source="halves")

    @contextmanager
    def opened(self, tomogram: Tomogram, wedge: Wedge) -> Iterator[HalvesOfTomogram]:
        """Open a row.

        Raises
        ------
        InputInvalid
            As `opened_halves` and `contrast_of`.
        """
        with opened_halves(tomogram, wedge, self.source) as halves:
            contrast = contrast_of(
                tomogram,
                halves.even.pixel_size_A,
                self.ctf_mode,
                is_flipped=self.is_ctf_flipped,
                clips_first_peak=self.clips_first_peak,
            )
            yield dataclasses.replace(halves, contrast=contrast)

    def paths(self, tomogram: Tomogram) -> Sequence[Path]:
        """The files of a row that are read."""
        if self.source == "halves" and tomogram.half1 is not None and tomogram.half2 is not None:
            return (tomogram.half1, tomogram.half2)
        return volume_paths(tomogram, deconvolved=self.source == "deconvolved")
