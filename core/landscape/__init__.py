"""The latents of many particles, looked at: components, clusters, paths, states."""

from .alikeness import LatentAgreement, LinearMap, agreement, linear_map
from .clusters import Clusters, Labels, hierarchical_order, k_means
from .components import HIGH_PERCENTILE, LOW_PERCENTILE, Components, Numbers, nearest, principal_components, traversal
from .density import log_density, rank_correlation
from .embedding import umap_of
from .mapping import ScoreMap, mapped
from .neighbours import distinct
from .paths import GraphPath, direct_path, graph_path
from .states import Linkage, StateMaps, states_of
from .volume_pca import MaskedVolumes, UnionMask, VolumeSpace, volume_space

__all__ = [
    "HIGH_PERCENTILE",
    "LOW_PERCENTILE",
    "Clusters",
    "Components",
    "GraphPath",
    "Labels",
    "LatentAgreement",
    "LinearMap",
    "Linkage",
    "MaskedVolumes",
    "Numbers",
    "ScoreMap",
    "StateMaps",
    "UnionMask",
    "VolumeSpace",
    "agreement",
    "direct_path",
    "distinct",
    "graph_path",
    "hierarchical_order",
    "k_means",
    "linear_map",
    "log_density",
    "mapped",
    "nearest",
    "principal_components",
    "rank_correlation",
    "states_of",
    "traversal",
    "umap_of",
    "volume_space",
]
