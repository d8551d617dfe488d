"""The self-supervised correction of a pair of half-maps, and how its result is put together."""

from .beyond import beyond_limit, fall_off, gain_beyond
from .draws import Choice, Draws
from .ensemble import mean_and_spread
from .finishing import Finish, finished
from .losses import ImprovedTerms, filtered, improved_loss, published_loss
from .material import Material, check_maps, crop_weight, materials, normalised
from .noise import pair_noise, solvent_noise
from .pair import LowResolutions, Plan, ReadyPair, Regularised, prepare, prepared_inputs, training_weight
from .posterior import fill, gain_from_fsc, on_scale_of, plausible
from .prediction import predict, predict_steps
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
    "ReadyPair",
    "Regularised",
    "StoredLayout",
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
    "materials",
    "mean_and_spread",
    "normalised",
    "on_scale_of",
    "pair_noise",
    "plausible",
    "predict",
    "predict_steps",
    "prepare",
    "prepared_inputs",
    "published_loss",
    "solvent_noise",
    "stored_layout",
    "train",
    "trainer_of",
    "training_weight",
]
