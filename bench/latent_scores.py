"""How well latents tell what each particle is, and volumes what it looks like, against a known truth."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler


def of_latents(z, truth):
    """Scores by name of latents (N, d); 5-fold where something is fitted. Particles that are junk do not count."""
    kept = ~truth["is_junk"] if "is_junk" in truth else np.ones(len(z), bool)
    z, t, state = z[kept], truth["t"][kept], truth["state"][kept]
    first = PCA(1).fit_transform(z)[:, 0]
    z = StandardScaler().fit_transform(z)
    found = {}
    if np.ptp(t) > 0:
        found["t, first component"] = abs(spearmanr(first, t)[0])
        found["t, linear"] = spearmanr(_linear(z, t), t)[0]
        found["t, 20 neighbours"] = spearmanr(_neighbours(z, t), t)[0]
    if np.ptp(state) > 0:
        for number in np.unique(state)[1 if len(np.unique(state)) == 2 else 0 :]:
            label = (state == number).astype(float)
            found[f"state {number}, linear (AUC)"] = roc_auc_score(label, _linear(z, label))
            found[f"state {number}, 20 neighbours (AUC)"] = roc_auc_score(label, _neighbours(z, label))
    return {name: round(float(value), 4) for name, value in found.items()}


def _linear(z, target):
    return cross_val_predict(RidgeCV(np.logspace(-3, 3, 7)), z, target, cv=5)


def _neighbours(z, target):
    return cross_val_predict(KNeighborsRegressor(20), z, target, cv=5)


def probes_of(z, truth, probes):
    """For each probe the latent (d,) of a particle that is like it, nearest to the median of those that are."""
    chosen = []
    for probe in probes:
        near = truth["state"] == probe["state"]
        if np.ptp(truth["t"]) > 0:
            near &= np.abs(truth["t"] - probe["t"]) < 0.06
        if "is_junk" in truth:
            near &= ~truth["is_junk"]
        members = np.flatnonzero(near)
        distance = ((z[members] - np.median(z[members], axis=0)) ** 2).sum(axis=1)
        chosen.append(z[members[distance.argmin()]])
    return np.array(chosen)


def of_volumes(volumes, truths, mask):
    """Correlation inside the mask and mean FSC, lists in the probes' order, and correlation of differences."""
    inside = mask > 0.5
    fitted = [volume * np.vdot(volume[inside], true[inside]) / np.vdot(volume[inside], volume[inside])
              for volume, true in zip(volumes, truths, strict=True)]  # fmt: skip
    mean, true_mean = np.mean(fitted, axis=0), np.mean(truths, axis=0)
    found = {
        "CC": [_cc(volume[inside], true[inside]) for volume, true in zip(fitted, truths, strict=True)],
        "FSC": [
            float(_fsc(volume * mask, true * mask)[1:].mean()) for volume, true in zip(fitted, truths, strict=True)
        ],
    }
    if len(volumes) > 1:
        ends = (fitted[-1] - fitted[0])[inside], (truths[-1] - truths[0])[inside]
        found["difference, last from first"] = _cc(*ends)
        pairs = [((a - mean)[inside], (b - true_mean)[inside]) for a, b in zip(fitted, truths, strict=True)]
        found["difference from the mean"] = float(np.mean([_cc(*pair) for pair in pairs]))
    return found


def _cc(first, second):
    return float(np.corrcoef(first, second)[0, 1])


def _fsc(first, second):
    a, b = np.fft.fftn(first), np.fft.fftn(second)
    frequency = np.fft.fftfreq(len(first)) * len(first)
    grid = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    shell = np.rint(np.sqrt(sum(one**2 for one in grid))).astype(int).ravel()
    cross, *powers = (
        np.bincount(shell, values.ravel())[: len(first) // 2 + 1]
        for values in ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    )
    return cross / np.sqrt(powers[0] * powers[1] + 1e-30)
