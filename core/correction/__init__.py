"""The self-supervised correction of a pair of half-maps, and how its result is put together."""

from .amplitudes import amplitude_gain, restored_amplitudes
from .beyond import beyond_limit, fall_off, gain_beyond
from .draws import Choice, Draws
from .ensemble import mean_and_spread
from .finishing import Finish, finished, where_networks_count
from .level import levelling, signal_amplitude
from .losses import ImprovedTerms, filtered, improved_loss, practice_loss, published_loss, with_mask
from .material import Material, check_maps, crop_weight, materials, normalised, shown
from .noise import pair_noise, solvent_noise
from .pair import LowResolutions, Plan, ReadyPair, Regularised, prepare, prepared_inputs, training_weight
from .posterior import fill, gain_from_fsc, on_one_scale, on_scale_of, plausible
from .practice import Practice, PracticeCrops
from .prediction import predict, predict_steps
from .pretraining import PretrainingTask
from .published_weight import published_weight
from .sight import Sight, levelled_sight, resampled_mask, resampled_spectrum, sight_box
from .signal import SignalShare, ToldBy, agrees_by_direction, mean_in_cones, signal_share
from .state import CorrectionState, StoredLayout, stored_layout
from .task import CorrectionTask
from .training import train, trainer_of

__all__ = [
    "Choice",
    "CorrectionState",
    "CorrectionTask",
    "Draws",
    "Finish",
    "ImprovedTerms",
    "LowResolutions",
    "Material",
    "Plan",
    "Practice",
    "PracticeCrops",
    "PretrainingTask",
    "ReadyPair",
    "Regularised",
    "Sight",
    "SignalShare",
    "StoredLayout",
    "ToldBy",
    "agrees_by_direction",
    "amplitude_gain",
    "beyond_limit",
    "check_maps",
    "crop_weight",
    "fall_off",
    "fill",
    "filtered",
    "finished",
    "gain_beyond",
    "gain_from_fsc",
    "improved_loss",
    "levelled_sight",
    "levelling",
    "materials",
    "mean_and_spread",
    "mean_in_cones",
    "normalised",
    "on_one_scale",
    "on_scale_of",
    "pair_noise",
    "plausible",
    "practice_loss",
    "predict",
    "predict_steps",
    "prepare",
    "prepared_inputs",
    "published_loss",
    "published_weight",
    "resampled_mask",
    "resampled_spectrum",
    "restored_amplitudes",
    "shown",
    "sight_box",
    "signal_amplitude",
    "signal_share",
    "solvent_noise",
    "stored_layout",
    "train",
    "trainer_of",
    "training_weight",
    "where_networks_count",
    "with_mask",
]
