"""Maps in real space: masks, point groups, rotations, crops, tiles, and phantoms with a known truth."""

from .atoms import atom_density, atom_mask
from .masks import distance_to, otsu_threshold, soft_edge, soft_sphere, solvent_mask
from .phantom import PhantomPair, cone_regions, phantom_pair, truth_score
from .rotations import (
    CUBE_TURNS,
    Turn,
    random_matrices,
    random_turns,
    rotate,
    spherical_window,
    turn,
    turn_back,
    turn_each,
    turn_each_back,
    turn_matrices,
)
from .sections import sections_along
from .subvolumes import draw_corners, padded_to, possible_centres, resampled_weight, take
from .symmetry import (
    POINT_GROUPS,
    SymmetryElement,
    generators,
    operators,
    rotation_about,
    symmetrise,
    symmetrise_spectrum,
    turned,
)
from .tiling import MARGIN, SMALLEST_TILE, tile_ramp, tile_starts, tiled

__all__ = [
    "CUBE_TURNS",
    "MARGIN",
    "POINT_GROUPS",
    "SMALLEST_TILE",
    "PhantomPair",
    "SymmetryElement",
    "Turn",
    "atom_density",
    "atom_mask",
    "cone_regions",
    "distance_to",
    "draw_corners",
    "generators",
    "operators",
    "otsu_threshold",
    "padded_to",
    "phantom_pair",
    "possible_centres",
    "random_matrices",
    "random_turns",
    "resampled_weight",
    "rotate",
    "rotation_about",
    "sections_along",
    "soft_edge",
    "soft_sphere",
    "solvent_mask",
    "spherical_window",
    "symmetrise",
    "symmetrise_spectrum",
    "take",
    "tile_ramp",
    "tile_starts",
    "tiled",
    "truth_score",
    "turn",
    "turn_back",
    "turn_each",
    "turn_each_back",
    "turn_matrices",
    "turned",
]
