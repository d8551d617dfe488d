"""Agreement in a cone, against the FSC written out in numpy."""

import math

import numpy as np
import pytest
import torch

from cryobridge.bridge.worker.calls.agreement import cone_agreement


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.6, 0.0, 0.8)])
def test_it_is_the_mean_fsc_of_the_voxels_in_the_cone(direction):
    n, last = 24, 8
    generator = np.random.default_rng(3)
    common = generator.standard_normal((n, n, n))
    one, two = (common + generator.standard_normal((n, n, n)) for _ in range(2))
    mask = generator.random((n, n, n))
    k = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * 3, indexing="ij"))
    length = np.sqrt((k**2).sum(0))
    along = np.abs(np.tensordot(direction, k, 1))
    cone = along >= length * (math.cos(math.radians(20.0)) - 1e-6)
    a, b = (np.fft.fftn((half - half.mean()) * mask) for half in (one, two))
    fsc = []
    for shell in range(1, last + 1):
        here = cone & (np.round(length) == shell)
        cross = (a * b.conj()).real[here].sum()
        fsc.append(cross / np.sqrt((abs(a[here]) ** 2).sum() * (abs(b[here]) ** 2).sum()))
    tensors = [torch.from_numpy(values.astype(np.float32)) for values in (one, two, mask)]
    found = cone_agreement(*tensors, torch.tensor(direction), last)
    assert found == pytest.approx(np.mean(fsc), abs=1e-4)
