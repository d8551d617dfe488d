"""The literature that reports refer to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """A work: how the text names it, its entry in the list, and where it is found."""

    short: str
    entry: str
    url: str


def _doi(short: str, entry: str, doi: str) -> Citation:
    return Citation(short, entry, f"https://doi.org/{doi}")


SPISONET = _doi(
    "Liu et al. 2025",
    "Liu, Fan, Hu, Zhou. Overcoming the preferred-orientation problem in cryo-EM with self-supervised deep learning. "
    "Nat. Methods 22 (2025).",
    "10.1038/s41592-024-02505-1",
)
FSC3D = _doi(
    "Tan et al. 2017",
    "Tan, Baldwin, Davis, Williamson, Potter, Carragher, Lyumkis. Addressing preferred specimen orientation in "
    "single-particle cryo-EM through tilting. Nat. Methods 14 (2017).",
    "10.1038/nmeth.4347",
)
FSC_143 = _doi(
    "Rosenthal & Henderson 2003",
    "Rosenthal, Henderson. Optimal determination of particle orientation, absolute hand, and contrast loss in "
    "single-particle electron cryomicroscopy. J. Mol. Biol. 333 (2003).",
    "10.1016/j.jmb.2003.07.013",
)
GOLD_STANDARD = _doi(
    "Scheres & Chen 2012",
    "Scheres, Chen. Prevention of overfitting in cryo-EM structure determination. Nat. Methods 9 (2012).",
    "10.1038/nmeth.2115",
)
PHASE_RANDOMISATION = _doi(
    "Chen et al. 2013",
    "Chen, McMullan, Faruqi, Murshudov, Short, Scheres, Henderson. High-resolution noise substitution to measure "
    "overfitting and validate resolution in 3D structure determination by single particle electron cryomicroscopy. "
    "Ultramicroscopy 135 (2013).",
    "10.1016/j.ultramic.2013.06.004",
)
SAMPLING = _doi(
    "Baldwin & Lyumkis 2020",
    "Baldwin, Lyumkis. Non-uniformity of projection distributions attenuates resolution in cryo-EM. Prog. Biophys. "
    "Mol. Biol. 150 (2020).",
    "10.1016/j.pbiomolbio.2019.09.002",
)
CFAR = Citation(
    "CryoSPARC guide",
    "Structura Biotechnology. Job: Orientation Diagnostics. CryoSPARC guide.",
    "https://guide.cryosparc.com/processing-data/all-job-types-in-cryosparc/utilities/job-orientation-diagnostics",
)
NOISE2NOISE = Citation(
    "Lehtinen et al. 2018",
    "Lehtinen, Munkberg, Hasselgren, Laine, Karras, Aittala, Aila. Noise2Noise: learning image restoration without "
    "clean data. ICML (2018).",
    "https://arxiv.org/abs/1803.04189",
)
UNET3D = _doi(
    "Çiçek et al. 2016",
    "Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger. 3D U-Net: learning dense volumetric segmentation from sparse "
    "annotation. MICCAI (2016).",
    "10.1007/978-3-319-46723-8_49",
)
GROUP_NORM = Citation(
    "Wu & He 2018",
    "Wu, He. Group normalization. ECCV (2018).",
    "https://arxiv.org/abs/1803.08494",
)
ADAMW = Citation(
    "Loshchilov & Hutter 2019",
    "Loshchilov, Hutter. Decoupled weight decay regularization. ICLR (2019).",
    "https://arxiv.org/abs/1711.05101",
)
CHIMERAX = _doi(
    "Meng et al. 2023",
    "Meng, Goddard, Pettersen, Couch, Pearson, Morris, Ferrin. UCSF ChimeraX: tools for structure building and "
    "analysis. Protein Sci. 32 (2023).",
    "10.1002/pro.4792",
)
