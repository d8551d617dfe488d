"""Sentences and works that reports on latents have in common."""

from __future__ import annotations

from ..report.citations import by_doi
from ..report.methods import Passage

CRYODRGN = by_doi(
    "Zhong et al. 2021",
    "Zhong, Bepler, Berger, Davis. CryoDRGN: reconstruction of heterogeneous cryo-EM structures using neural networks. "
    "Nat. Methods 18 (2021).",
    "10.1038/s41592-020-01049-4",
)
UMAP = by_doi(
    "McInnes et al. 2018",
    "McInnes, Healy, Saul, Grossberger. UMAP: Uniform Manifold Approximation and Projection. J. Open Source Softw. 3 "
    "(2018).",
    "10.21105/joss.00861",
)
PPCA = by_doi(
    "Tipping & Bishop 1999",
    "Tipping, Bishop. Probabilistic principal component analysis. J. R. Stat. Soc. B 61 (1999).",
    "10.1111/1467-9868.00196",
)
VARIABILITY = by_doi(
    "Punjani & Fleet 2021",
    "Punjani, Fleet. 3D variability analysis: resolving continuous flexibility and discrete heterogeneity from single "
    "particle cryo-EM. J. Struct. Biol. 213 (2021).",
    "10.1016/j.jsb.2021.107702",
)
MAKING = by_doi(
    "Kinman et al. 2023",
    "Kinman, Powell, Zhong, Berger, Davis. Uncovering structural ensembles from single-particle cryo-EM data using "
    "cryoDRGN. Nat. Protoc. 18 (2023).",
    "10.1038/s41596-022-00763-x",
)

CAVEATS = (
    "A volume is what the model makes of a latent, not a reconstruction: before a state is published, select its "
    "particles, refine them anew, and compare half-maps.",
    "k-means cuts any cloud into clusters, and a tree into states: that there are so many says nothing of how many "
    "there are in the molecule.",
    "Distances and densities of latents are those of the model's own coordinates; no free energies are read off them.",
)
"""What may not be concluded from latents."""


def clusters_passage(count: int) -> Passage:
    """K-means on latents."""
    return Passage(
        f"Latents were clustered into {count} clusters by k-means, each with the particle nearest to its mean as its "
        f"centre, and clusters were numbered by average linkage ({MAKING.short}).",
        (MAKING,),
    )


def traversal_passage(count: int, what: str = "Volumes were made") -> Passage:
    """Volumes along components, or whatever else was made there."""
    return Passage(
        f"{what} along principal components of the latents, at {count} latents from the 5th to the 95th "
        f"percentile of the particles ({CRYODRGN.short}).",
        (CRYODRGN,),
    )


def umap_passage() -> Passage:
    """UMAP, for pictures."""
    return Passage(
        f"For pictures, latents were laid out by UMAP with 15 neighbours and a least distance of 0.1 ({UMAP.short}).",
        (UMAP,),
    )
