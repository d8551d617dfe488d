"""The equals of RELION's programs: its reconstruction from sums, its postprocessing."""

from .gridding import (
    ITERATIONS,
    SMALLEST_CONVOLVED,
    Blob,
    OddPart,
    blob_by_squared_radius,
    chunk_length,
    chunks,
    iterate,
)
from .postprocess import (
    Agreement,
    Guinier,
    Line,
    Sharpened,
    Sharpening,
    agreement,
    b_factor_gain,
    fit_line,
    flattening_curve,
    fsc_weights,
    sharpen,
)
from .quality import PairQuality, pair_quality
from .real_transforms import ifft, irfft, irfft2, rfft, rfft2
from .sphere import mask_and_correct
from .wiener import STYLES, Style, StyleRules, SumsGeometry, reconstruct, wiener_gain

__all__ = [
    "ITERATIONS",
    "SMALLEST_CONVOLVED",
    "STYLES",
    "Agreement",
    "Blob",
    "Guinier",
    "Line",
    "OddPart",
    "PairQuality",
    "Sharpened",
    "Sharpening",
    "Style",
    "StyleRules",
    "SumsGeometry",
    "agreement",
    "b_factor_gain",
    "blob_by_squared_radius",
    "chunk_length",
    "chunks",
    "fit_line",
    "flattening_curve",
    "fsc_weights",
    "ifft",
    "irfft",
    "irfft2",
    "iterate",
    "mask_and_correct",
    "pair_quality",
    "reconstruct",
    "rfft",
    "rfft2",
    "sharpen",
    "wiener_gain",
]
