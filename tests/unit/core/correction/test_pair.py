"""How much a Fourier voxel counts: the correlation of the halves' mean with the truth, simulated."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import training_weight
from cryobridge.schemas.kinds.map.correct import CorrectOptions


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_c_ref_is_the_correlation_of_the_mean_with_the_truth(noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth, first, second = (torch.randn(400_000, generator=generator) for _ in range(3))
    halves = [truth + noise * first, truth + noise * second]

    def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a, b]))[0, 1])

    fsc = torch.tensor([correlation(*halves)])
    weight = training_weight(fsc, CorrectOptions().weighting)
    assert float(weight) == pytest.approx(correlation(halves[0] + halves[1], truth), abs=0.005)


def test_the_published_method_counts_by_the_3dfsc_itself() -> None:
    fsc = torch.tensor([0.0, 0.2, 1.0])
    assert torch.equal(training_weight(fsc, CorrectOptions(method="published").weighting), fsc)
    assert torch.equal(training_weight(fsc, CorrectOptions().weighting)[[0, 2]], fsc[[0, 2]])
