"""The published method: a variational autoencoder whose decoder is a network of positions in Fourier space.

Source: Zhong et al. 2021, Nature Methods 18, 176 (cryoDRGN). Written from its papers and its documents, not its code.
"""

from .decoder import CoordinateDecoder, DecoderOfPoints
from .encoders import hartley_values, spectra_of_hartley
from .encodings import PositionalEncoding, frequencies
from .learned_rows import LearnedRows
from .losses import PublishedLoss, beta_schedule, divergence, divergence_by_number
from .network import PublishedNetwork
from .pose_table import PoseTable, quaternions_of, rotations_of_quaternions, rotations_of_s2s2, s2s2_of
from .shape import Activation, Domain, EncoderKind, EncodingKind, NetworkShape
from .task import PublishedTask

__all__ = [
    "Activation",
    "CoordinateDecoder",
    "DecoderOfPoints",
    "Domain",
    "EncoderKind",
    "EncodingKind",
    "LearnedRows",
    "NetworkShape",
    "PoseTable",
    "PositionalEncoding",
    "PublishedLoss",
    "PublishedNetwork",
    "PublishedTask",
    "beta_schedule",
    "divergence",
    "divergence_by_number",
    "frequencies",
    "hartley_values",
    "quaternions_of",
    "rotations_of_quaternions",
    "rotations_of_s2s2",
    "s2s2_of",
    "spectra_of_hartley",
]
