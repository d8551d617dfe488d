"""The published method: IsoNet's iterative filling of the missing wedge (Liu et al., Nature Communications 13, 2022).

Written from the paper, the tutorial and its documented parameters, not from IsoNet's code.
"""

from .measured import measured_weight
from .network import IsoNetShape, IsoNetUNet, Triple
from .noise import NoiseMode, level_at, noise_volumes, noise_weight
from .pairs import PairPlace, WedgedSubtomograms
from .prediction import answered
from .task import NETWORK, IsoNetTask, NoiseOfIteration

__all__ = [
    "NETWORK",
    "IsoNetShape",
    "IsoNetTask",
    "IsoNetUNet",
    "NoiseMode",
    "NoiseOfIteration",
    "PairPlace",
    "Triple",
    "WedgedSubtomograms",
    "answered",
    "level_at",
    "measured_weight",
    "noise_volumes",
    "noise_weight",
]
