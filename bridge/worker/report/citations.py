"""The literature that reports of several kinds refer to; what one kind alone cites stands beside that kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """A work: how the text names it, its entry in the list, and where it is found."""

    short: str
    entry: str
    url: str


def by_doi(short: str, entry: str, doi: str) -> Citation:
    """A work that has a DOI."""
    return Citation(short, entry, f"https://doi.org/{doi}")


SPISONET = by_doi(
    "Liu et al. 2025",
    "Liu, Fan, Hu, Zhou. Overcoming the preferred-orientation problem in cryo-EM with self-supervised deep learning. "
    "Nat. Methods 22 (2025).",
    "10.1038/s41592-024-02505-1",
)
FSC3D = by_doi(
    "Tan et al. 2017",
    "Tan, Baldwin, Davis, Williamson, Potter, Carragher, Lyumkis. Addressing preferred specimen orientation in "
    "single-particle cryo-EM through tilting. Nat. Methods 14 (2017).",
    "10.1038/nmeth.4347",
)
FSC_143 = by_doi(
    "Rosenthal & Henderson 2003",
    "Rosenthal, Henderson. Optimal determination of particle orientation, absolute hand, and contrast loss in "
    "single-particle electron cryomicroscopy. J. Mol. Biol. 333 (2003).",
    "10.1016/j.jmb.2003.07.013",
)
GOLD_STANDARD = by_doi(
    "Scheres & Chen 2012",
    "Scheres, Chen. Prevention of overfitting in cryo-EM structure determination. Nat. Methods 9 (2012).",
    "10.1038/nmeth.2115",
)
PHASE_RANDOMISATION = by_doi(
    "Chen et al. 2013",
    "Chen, McMullan, Faruqi, Murshudov, Short, Scheres, Henderson. High-resolution noise substitution to measure "
    "overfitting and validate resolution in 3D structure determination by single particle electron cryomicroscopy. "
    "Ultramicroscopy 135 (2013).",
    "10.1016/j.ultramic.2013.06.004",
)
SAMPLING = by_doi(
    "Baldwin & Lyumkis 2020",
    "Baldwin, Lyumkis. Non-uniformity of projection distributions attenuates resolution in cryo-EM. Prog. Biophys. "
    "Mol. Biol. 150 (2020).",
    "10.1016/j.pbiomolbio.2019.09.002",
)
CHIMERAX = by_doi(
    "Meng et al. 2023",
    "Meng, Goddard, Pettersen, Couch, Pearson, Morris, Ferrin. UCSF ChimeraX: tools for structure building and "
    "analysis. Protein Sci. 32 (2023).",
    "10.1002/pro.4792",
)
CRYODRGN = by_doi(
    "Zhong et al. 2021",
    "Zhong, Bepler, Berger, Davis. CryoDRGN: reconstruction of heterogeneous cryo-EM structures using neural networks. "
    "Nat. Methods 18 (2021).",
    "10.1038/s41592-020-01049-4",
)
