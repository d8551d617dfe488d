"""A trial of networks on a cone that was made bad: it tells one that knows the truth from one that knows nothing."""

from __future__ import annotations

import torch

from cryobridge.core.correction import levelled_sight
from cryobridge.core.diagnosis import cone_trial
from cryobridge.core.fourier import forward
from cryobridge.core.volume import phantom_pair

N, LIMIT = 48, 17


def test_a_well_measured_cone_is_made_as_bad_as_the_worst() -> None:
    pair = phantom_pair(N)
    sight = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, LIMIT)
    trial = cone_trial(sight, LIMIT, torch.Generator().manual_seed(1))
    assert trial is not None
    assert sight.fraction is not None
    assert trial.sight.fraction is not None
    member = trial.cone.member(sight.fraction.shape[0])
    assert float(trial.cone.axes[0, 0].abs()) < 0.7, "away from the bad axis, z"
    assert float(trial.sight.fraction[member].mean()) < 0.5 * float(sight.fraction[member].mean())
    assert torch.equal(trial.sight.fraction[~member], sight.fraction[~member])
    untouched = (forward(trial.sight.starts[0]) - forward(sight.starts[0])).abs()[~member]
    assert float(untouched.max()) < 1e-2 * float(forward(sight.starts[0]).abs().max())


def test_it_tells_what_knows_the_direction_from_what_does_not() -> None:
    pair = phantom_pair(N)
    sight = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, LIMIT)
    trial = cone_trial(sight, LIMIT, torch.Generator().manual_seed(1))
    assert trial is not None
    truth, nothing = sight.start_of(pair.truth, 1), trial.sight.seen(trial.sight.starts[0])
    other = phantom_pair(N, seed=11).truth
    assert trial.score(truth) > trial.score(nothing) + 0.1
    assert abs(trial.score(sight.start_of(other, 1))) < trial.score(truth) / 2


def test_where_directions_are_alike_there_is_no_trial() -> None:
    pair = phantom_pair(N, inside=1.0)
    sight = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, LIMIT)
    assert cone_trial(sight, LIMIT, torch.Generator().manual_seed(1)) is None
