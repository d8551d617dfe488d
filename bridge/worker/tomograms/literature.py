"""Works that the pages of jobs on tomograms refer to."""

from __future__ import annotations

from ..report.citations import by_doi

WARP = by_doi(
    "Tegunov & Cramer 2019",
    "Tegunov, Cramer. Real-time cryo-electron microscopy data preprocessing with Warp. Nat. Methods 16 (2019).",
    "10.1038/s41592-019-0580-y",
)
ISONET = by_doi(
    "Liu et al. 2022",
    "Liu, Zhang, Wang, Tao, Bi, Zhou. Isotropic reconstruction for electron tomography with deep learning. Nat. "
    "Commun. 13 (2022).",
    "10.1038/s41467-022-33957-8",
)
DEEPDEWEDGE = by_doi(
    "Wiedemann & Heckel 2024",
    "Wiedemann, Heckel. A deep learning method for simultaneous denoising and missing wedge reconstruction in "
    "cryogenic electron tomography. Nat. Commun. 15 (2024).",
    "10.1038/s41467-024-51438-y",
)
