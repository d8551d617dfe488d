"""Training and prediction: reproducible, resumable, independent where they say so, and refusing bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from support.correction_data import equal_states, noisy_pair, tiny_options
from torch import Tensor

from cryobridge.core.correction import CorrectionState, Sight, predict, predict_steps, train
from cryobridge.core.fourier.transforms import apply_filter
from cryobridge.core.training import StepReport
from cryobridge.schemas.correction import CorrectionOptions


def _trained(options: CorrectionOptions, *data: Tensor) -> tuple[CorrectionState, list[StepReport]]:
    state = CorrectionState.new(options, "cpu")
    return state, list(train(state, *data, options))


@pytest.mark.slow
@pytest.mark.parametrize("n", [17, 24, 40])
def test_an_untrained_identity_network_returns_the_map(n: int) -> None:
    options = tiny_options(filter_input=False)
    half, _, weight, mask = noisy_pair(n=n)
    result = predict(CorrectionState.new(options, "cpu"), 1, half, weight, mask, options)
    assert float((result - half).abs().max()) < 1e-6 * float(half.abs().max())


def test_with_filtered_input_the_identity_returns_what_the_weight_leaves() -> None:
    options = tiny_options()
    half, _, weight, mask = noisy_pair()
    result = predict(CorrectionState.new(options, "cpu"), 2, half, weight, mask, options)
    assert torch.allclose(result, apply_filter(half, weight), atol=1e-5)


def test_the_map_outside_the_mask_stays() -> None:
    options = tiny_options(steps=1, filter_input=False)
    half1, half2, weight, mask = noisy_pair(n=32)
    state, _ = _trained(options, half1, half2, weight, mask)
    change = predict(state, 1, half1, weight, mask, options) - half1
    assert float(change[0].abs().max()) < 1e-5
    assert float(change[16, 16, 16].abs()) > 0


def test_the_published_method_predicts_the_whole_box() -> None:
    options = tiny_options(steps=1, loss="published", norm="batch", filter_input=False)
    half1, half2, weight, mask = noisy_pair(n=32)
    state, _ = _trained(options, half1, half2, weight, mask)
    masked, everywhere = (predict(state, 1, half1, weight, where, options) for where in (mask, None))
    assert torch.equal(masked, everywhere)
    assert float((masked - half1)[0].abs().min()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [{}, {"noise": 1.0, "free_rotations": 0.5}, {"loss": "published", "norm": "batch", "acc_batches": 2}],
)
def test_the_same_seed_gives_bitwise_the_same_network(chosen: dict[str, Any]) -> None:
    data, options = noisy_pair(), tiny_options(**chosen)
    first, reports = _trained(options, *data)
    second, again = _trained(options, *data)
    assert equal_states(first, second)
    assert [r.loss for r in reports] == [r.loss for r in again]
    other, _ = _trained(tiny_options(**chosen, seed=1), *data)
    assert not equal_states(first, other)


def test_a_state_goes_through_tensors_and_on_as_if_nothing_had_been() -> None:
    data, options = noisy_pair(), tiny_options(norm="batch")
    straight, _ = _trained(options, *data)
    resumed = CorrectionState.from_tensors(straight.tensors(), options, "cpu")
    assert equal_states(straight, resumed)
    list(train(straight, *data, options))
    list(train(resumed, *data, options))
    assert straight.steps_done == 4
    assert equal_states(straight, resumed)


def test_stored_tensors_are_a_copy() -> None:
    data, options = noisy_pair(), tiny_options()
    state, _ = _trained(options, *data)
    stored = state.tensors()
    kept = {name: value.clone() for name, value in stored.items()}
    list(train(state, *data, options))
    assert all(torch.equal(stored[name], kept[name]) for name in stored)


def test_a_state_of_other_options_is_refused() -> None:
    stored = CorrectionState.new(tiny_options(), "cpu").tensors()
    for other in (tiny_options(preset="small"), tiny_options(mode="independent"), tiny_options(norm="none")):
        with pytest.raises(ValueError, match="these options want"):
            CorrectionState.from_tensors(stored, other, "cpu")
    broken = {name: value for name, value in stored.items() if "last.weight" not in name}
    with pytest.raises(ValueError, match="missing"):
        CorrectionState.from_tensors(broken, tiny_options(), "cpu")
    stored["0.network.last.weight"][0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        CorrectionState.from_tensors(stored, tiny_options(), "cpu")


def test_a_closed_training_leaves_a_whole_state() -> None:
    data, options = noisy_pair(), tiny_options(steps=50)
    state = CorrectionState.new(options, "cpu")
    steps = train(state, *data, options)
    assert next(steps).step == 1
    steps.close()
    assert state.steps_done == 1
    assert torch.isfinite(predict(state, 1, data[0], data[2], data[3], options)).all()


def test_a_warm_call_takes_the_warm_number_of_steps_and_new_crops() -> None:
    data, options = noisy_pair(), tiny_options(steps=3, warm_steps=1)
    state, cold = _trained(options, *data)
    warm = list(train(state, *data, options))
    assert [len(cold), len(warm)] == [3, 1]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["published", "improved"])
def test_independent_halves_depend_on_their_own_half_only(loss: str) -> None:
    half1, half2, weight, mask = noisy_pair()
    options = tiny_options(mode="independent", loss=loss, noise=1.0, filter_input=loss == "improved")
    state, _ = _trained(options, half1, half2, weight, mask)
    state_other_1, _ = _trained(options, half1 + noisy_pair(7)[0], half2, weight, mask)
    state_other_2, _ = _trained(options, half1, half2 + noisy_pair(7)[0], weight, mask)

    def result(trained: CorrectionState, which: int) -> Tensor:
        return predict(trained, which, (half1, half2)[which - 1], weight, mask, options)

    assert torch.equal(result(state, 1), result(state_other_2, 1))
    assert torch.equal(result(state, 2), result(state_other_1, 2))
    assert not torch.equal(result(state, 1), result(state_other_1, 1))
    assert not torch.equal(result(state, 2), result(state_other_2, 2))


def test_shared_halves_use_one_network() -> None:
    state = CorrectionState.new(tiny_options(), "cpu")
    assert state.learner(1) is state.learner(2)
    with pytest.raises(ValueError, match="which_half"):
        state.learner(0)


@pytest.mark.parametrize("n", [15, 20, 33])
def test_small_and_odd_boxes_work(n: int) -> None:
    data, options = noisy_pair(n=n), tiny_options(steps=1)
    state, reports = _trained(options, *data)
    assert len(reports) == 1
    assert predict(state, 2, data[1], data[2], None, options).shape == (n, n, n)


@pytest.mark.slow
def test_training_lowers_the_loss_on_crops_it_never_saw() -> None:
    data = noisy_pair()
    options = tiny_options(steps=16, held_out=4, held_out_every=4, learning_rate=3e-3)
    _, reports = _trained(options, *data)
    looks = [r.held_out_loss for r in reports if r.step % 4 == 0]
    assert reports[0].held_out_loss is None
    assert all(look is not None for look in looks)
    assert looks[-1] is not None
    assert looks[0] is not None
    assert looks[-1] < looks[0]


def test_training_stops_when_the_held_out_loss_no_longer_falls() -> None:
    data = noisy_pair()
    # A rate this small changes nothing, so no look is better than the first.
    options = tiny_options(steps=40, held_out=1, held_out_every=1, patience=2, learning_rate=1e-12, schedule="constant")
    _, reports = _trained(options, *data)
    assert len(reports) < 40


@pytest.mark.slow
def test_accumulating_parts_of_a_batch_gives_the_same_step() -> None:
    data = noisy_pair()
    whole, _ = _trained(tiny_options(steps=1, acc_batches=1), *data)
    parts, _ = _trained(tiny_options(steps=1, acc_batches=2), *data)
    for name, value in whole.tensors().items():
        assert torch.allclose(value.double(), parts.tensors()[name].double(), rtol=1e-3, atol=1e-5), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="bfloat16 is used on a GPU only; none here")
def test_bfloat16_training_works_and_its_prediction_stays_near_float32() -> None:
    data = [tensor.cuda() for tensor in noisy_pair()]
    half_precision = tiny_options(precision="bfloat16")
    state = CorrectionState.new(half_precision, "cuda")
    assert len(list(train(state, *data, half_precision))) == 2
    exact = predict(state, 1, data[0], *data[2:], tiny_options())
    result = predict(state, 1, data[0], *data[2:], half_precision)
    assert result.dtype == torch.float32
    assert 0 < float((result - exact).std()) < 0.05 * float(exact.std())


def test_a_cpu_computes_in_float32_whatever_is_asked() -> None:
    half1, half2, weight, mask = noisy_pair()
    asked = tiny_options(precision="bfloat16")
    states = [_trained(options, half1, half2, weight, mask)[0] for options in (asked, tiny_options())]
    assert equal_states(*states)
    results = [predict(states[0], 1, half1, weight, mask, options) for options in (asked, tiny_options())]
    assert torch.equal(*results)


def test_the_averaged_weights_are_used_and_put_back() -> None:
    data, options = noisy_pair(), tiny_options(steps=3, learning_rate=1e-2)
    state, _ = _trained(options, *data)
    learner = state.learner(1)
    own = {name: value.clone() for name, value in learner.network.named_parameters()}
    with learner.averaged(options) as network:
        used = dict(network.named_parameters())
        assert any(not torch.equal(used[name], own[name]) for name in own)
        assert all(torch.equal(used[name], learner.average[name]) for name in own)
    assert all(torch.equal(value, own[name]) for name, value in learner.network.named_parameters())


@pytest.mark.slow
def test_prediction_gives_way_between_tiles() -> None:
    options = tiny_options()
    half, _, weight, _ = noisy_pair(n=40)
    steps = list(
        predict_steps(CorrectionState.new(options, "cpu"), 1, half, Sight((half, half), weight, None), options)
    )
    assert steps[-1] is not None
    assert steps[:-1]
    assert all(step is None for step in steps[:-1])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda a, b, w, m: (a, b[:8], w, m), "cubes of one size"),
        (lambda a, b, w, m: (a, b, w[:, :, :4], m), "half spectrum"),
        (lambda a, b, w, m: (a, b, w, m[:8]), "mask"),
        (lambda a, b, w, m: (a, b * float("nan"), w, m), "not finite"),
        (lambda a, b, w, m: (a, b, w * float("inf"), m), "weight is not finite"),
        (lambda a, b, w, m: (a, torch.zeros_like(b), w, m), "constant"),
        (lambda a, b, w, m: (a, b, torch.zeros_like(w), m), "constant"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(spoil: Any, said: str) -> None:
    options = tiny_options()
    state = CorrectionState.new(options, "cpu")
    with pytest.raises(ValueError, match=said):
        next(train(state, *spoil(*noisy_pair()), options))
    assert state.steps_done == 0


def test_the_scale_of_the_maps_does_not_matter() -> None:
    half1, half2, weight, mask = noisy_pair()
    options = tiny_options()
    state, _ = _trained(options, half1, half2, weight, mask)
    scaled, _ = _trained(options, 1e-6 * half1, 1e-6 * half2, weight, mask)
    result = predict(state, 1, half1, weight, mask, options)
    assert torch.allclose(1e6 * predict(scaled, 1, 1e-6 * half1, weight, mask, options), result, atol=1e-2)


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match="multiple of acc_batches"):
        tiny_options(batch=3, acc_batches=2)
    with pytest.raises(ValidationError, match="patience"):
        tiny_options(patience=2)
    with pytest.raises(ValidationError, match="extra"):
        tiny_options(aplha=1)


def test_device_defaults() -> None:
    gpu = CorrectionOptions.published("cuda:0")
    assert (gpu.base_width, gpu.cube_size, gpu.crop_size, gpu.batch, gpu.acc_batches) == (64, 64, 80, 4, 2)
    assert (gpu.total_steps(warm=False), gpu.learning_rate, gpu.alpha, gpu.beta) == (1250, 3e-4, 1, 0.5)
    cpu = CorrectionOptions.for_device("cpu")
    assert cpu.base_width <= 16
    assert cpu.total_steps(warm=False) <= 200
    assert cpu.total_steps(warm=True) < cpu.total_steps(warm=False)
    assert CorrectionOptions.for_device("cpu", epochs=2, n_subvolume=100).total_steps(warm=False) == 50
