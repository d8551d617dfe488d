"""A UMAP of latents, for pictures only: distances and densities in it mean little."""

from __future__ import annotations

import numpy as np

from .components import Numbers
from .neighbours import distinct

FITTED = 100_000
"""Points that a UMAP is fitted to; the others are put among them."""
_NEIGHBOURS = 15


def umap_of(latents: Numbers, seed: int = 0, fitted: int = FITTED) -> Numbers:
    """Places (N, 2) of latents (N, d), with 15 neighbours and a least distance of 0.1; the same for the same seed.

    Points at one place, as the images of a particle in a tilt series have it, are one: they would be neighbours of
    each other only.

    Raises
    ------
    ImportError
        If umap-learn is not installed.

    References
    ----------
    McInnes, Healy, Saul & Grossberger 2018, doi 10.21105/joss.00861.
    """
    from umap import UMAP

    first, which = distinct(latents)
    # Where there are fewer places than neighbours, those at one place have to do.
    if _NEIGHBOURS < len(first) < len(latents):
        return umap_of(latents[first], seed, fitted)[which]
    mapper = UMAP(n_neighbors=min(_NEIGHBOURS, len(latents) - 1), min_dist=0.1, random_state=seed, n_jobs=1)
    if len(latents) <= fitted:
        return np.asarray(mapper.fit_transform(latents), np.float64)
    drawn = np.sort(np.random.default_rng(seed).choice(len(latents), fitted, replace=False))
    others = np.setdiff1d(np.arange(len(latents)), drawn)
    places = np.empty((len(latents), 2))
    places[drawn] = mapper.fit_transform(latents[drawn])
    places[others] = mapper.transform(latents[others])
    return places
