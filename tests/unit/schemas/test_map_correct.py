"""Options of a correction: defaults of the device and the method, under what was chosen."""

from __future__ import annotations

from typing import Any

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.kinds.map.correct import CorrectOptions, MapCorrectJob


def job(**options: Any) -> MapCorrectJob:
    inputs = {"half1": "a.mrc", "half2": "b.mrc"}
    spec = {"schema": "cryobridge/job/1", "kind": "map.correct", "inputs": inputs, "output": "o", "options": options}
    parsed = parse_job(spec, "job")
    assert isinstance(parsed, MapCorrectJob)
    return parsed


def test_what_was_not_chosen_is_the_devices_own_after_any_journey() -> None:
    first = job(alpha=0.7)
    again = parse_job(first.as_spec(), "again")
    assert isinstance(again, MapCorrectJob)
    for one in (first, again):
        on_cpu, on_gpu = one.options.network_options("cpu"), one.options.network_options("cuda:1")
        assert on_cpu.alpha == on_gpu.alpha == 0.7
        assert (on_cpu.base_width, on_cpu.cube_size) == (on_gpu.base_width, on_gpu.cube_size) == (8, 32)
    own = job(alpha=0.7, start="anew").options
    on_cpu, on_gpu = own.network_options("cpu"), own.network_options("cuda:1")
    assert (on_cpu.cube_size, on_gpu.cube_size) == (24, 64)
    assert on_cpu.total_steps(warm=False) < on_gpu.total_steps(warm=False)
    assert again.as_spec() == first.as_spec()


def test_epochs_count_as_the_peer_counts_them() -> None:
    options = job(epochs=30, n_subvolume=1000, batch_size=4).options.network_options("cpu")
    assert options.total_steps(warm=False) == options.total_steps(warm=True) == 7500


def test_no_epochs_are_no_steps() -> None:
    assert job(epochs=0).options.network_options("cpu").total_steps(warm=False) == 0


def test_the_published_method_is_published_in_every_choice() -> None:
    options = job(method="published").options
    network = options.network_options("cpu")
    assert (network.loss, network.norm, network.schedule, network.ema) == ("published", "batch", "constant", 0)
    assert not network.filter_input
    assert (options.combination, options.weighting) == ("published", "fsc3d")
    assert job(method="published", combine="fill").options.combination == "fill"
    assert (job().options.combination, job().options.weighting) == ("fill", "noise")
    assert job(weight="none").options.weighting == "none"


def test_effort_says_how_long_the_pretrained_network_is_trained() -> None:
    steps = [job(effort=effort).options.network_options("cpu").steps for effort in ("quick", "standard", "careful")]
    assert steps[0] == 0
    assert steps == sorted(set(steps), key=int)
    assert job(effort="quick", steps=7).options.network_options("cpu").steps == 7


def test_one_half_map_alone_teaches_the_pretrained_network_nothing_unless_that_is_asked_for() -> None:
    assert job(independent=True).options.network_options("cpu").steps == 0
    assert job(mode="independent").options.network_options("cpu").steps == 0
    assert job(independent=True, effort="standard").options.network_options("cpu").steps
    assert job(independent=True, start="anew").options.network_options("cpu").steps


@pytest.mark.parametrize(
    "chosen",
    [{"start": "anew"}, {"method": "published"}, {"preset": "small"}, {"norm": "group"}, {"weight": "c_ref"}],
)
def test_whoever_asks_for_another_network_gets_one_of_his_own(chosen: dict[str, Any]) -> None:
    assert job().options.begins_pretrained
    assert not job(**chosen).options.begins_pretrained
    assert job(**chosen).options.network_options("cpu").total_steps(warm=False) > 0


def test_the_pretrained_network_only_starts_what_it_was_trained_for() -> None:
    with pytest.raises(InputInvalid, match="pre-trained network"):
        job(start="pretrained", weight="fsc3d")


def test_independent_is_the_mode() -> None:
    assert job(independent=True).options.network_options("cpu").mode == "independent"
    assert job(mode="independent").options.network_options("cpu").mode == "independent"
    assert job().options.network_options("cpu").mode == "shared"


@pytest.mark.parametrize("group", ["C1", "c3", "D7", "T", "O", "I", "I2", "C12"])
def test_point_groups_are_known(group: str) -> None:
    assert CorrectOptions(symmetry=group).symmetry == group


@pytest.mark.parametrize("group", ["C0", "X", "I5", "C3; rm", ""])
def test_other_words_are_no_point_groups(group: str) -> None:
    with pytest.raises(InputInvalid, match=r"options\.symmetry"):
        job(symmetry=group)


def test_one_thing_under_two_names_is_refused() -> None:
    with pytest.raises(InputInvalid, match="'limit_resolution_A' and 'limit_res'"):
        job(limit_resolution_A=3, limit_res=4)
