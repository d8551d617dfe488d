"""How rows of a table are read for a network that learns straight from tomograms, and for its answers later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryobridge.core.tomogram import Wedge
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import volume_paths

from .halves import HalvesOfTomogram, Source, opened_halves
from .row_contrast import CtfMode, WienerModel, contrast_of


@dataclass(frozen=True)
class RowReading:
    """What of a row is read, and what is done about its contrast transfer.

    Attributes
    ----------
    is_ctf_flipped
        The phases of the tilts were flipped before.
    clips_first_peak
        See `ContrastTransfer`.
    wiener
        What a Wiener filter goes by, where that is the mode.
    bfactor_A2
        By which it is sharpened, in squared Angstrom.
    """

    source: Source
    ctf_mode: CtfMode = "none"
    is_ctf_flipped: bool = False
    clips_first_peak: bool = True
    wiener: WienerModel = field(default_factory=WienerModel)
    bfactor_A2: float = 0.0

    @classmethod
    def of_training(cls, options: TomoRefineOptions) -> RowReading:
        """How a training straight from tomograms reads, of options that are filled in."""
        source: Source = "halves"
        if options.method == "isonet2":
            source = "deconvolved" if options.use_deconv_tomo and options.ctf_mode == "none" else "whole"
        return cls(
            source,
            options.ctf_mode,
            options.is_ctf_flipped,
            options.clip_first_peak_mode > 0,
            WienerModel(options.snrfalloff, options.deconvstrength, options.highpassnyquist),
            options.bfactor,
        )

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
            As `opened_halves` and `contrast_of`, or if it is to be sharpened and its voxel size is not known.
        """
        with opened_halves(tomogram, wedge, self.source) as halves:
            size_A = halves.even.pixel_size_A
            if self.bfactor_A2 > 0 and size_A is None:
                raise InputInvalid(
                    f"{tomogram.source}: row {tomogram.row + 1}: neither table nor header tells the voxel size, which "
                    "'bfactor' needs; set 'rlnPixelSize'"
                )
            contrast = contrast_of(
                tomogram,
                size_A,
                self.ctf_mode,
                is_flipped=self.is_ctf_flipped,
                clips_first_peak=self.clips_first_peak,
                model=self.wiener,
            )
            sharpened_by = 0.0 if size_A is None else self.bfactor_A2 / size_A**2
            yield dataclasses.replace(halves, contrast=contrast, bfactor_px2=sharpened_by)

    def paths(self, tomogram: Tomogram) -> Sequence[Path]:
        """The files of a row that are read."""
        if self.source == "halves" and tomogram.half1 is not None and tomogram.half2 is not None:
            return (tomogram.half1, tomogram.half2)
        return volume_paths(tomogram, deconvolved=self.source == "deconvolved")
