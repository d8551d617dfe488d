"""Numbers that follow from a place alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cryobridge.core.training import Order, generator_at, initialised_from

PLACES = st.lists(st.integers(-(2**63), 2**64), min_size=1, max_size=4)


@given(PLACES, PLACES)
def test_other_places_give_other_numbers(first: list[int], second: list[int]) -> None:
    a, b = (torch.randint(2**62, (4,), generator=generator_at(*place)) for place in (first, second))
    same = [number % 2**64 for number in first] == [number % 2**64 for number in second]
    assert torch.equal(a, b) == same


def test_neighbouring_steps_are_not_correlated() -> None:
    drawn = torch.stack([torch.randn(1000, generator=generator_at(7, step)) for step in range(20)])
    between = torch.corrcoef(drawn) - torch.eye(20)
    assert float(between.abs().max()) < 0.15


def test_an_order_follows_from_its_place_whatever_was_asked_before() -> None:
    order = Order()
    first = order.at(9, 3, 1)
    assert order.at(9, 3, 1) is first
    assert not torch.equal(order.at(9, 3, 2), first)
    assert len(order.at(8, 3, 1)) == 8
    assert torch.equal(order.at(9, 3, 1), torch.randperm(9, generator=generator_at(3, 1)))


def test_layers_follow_from_their_seed_and_leave_the_stream_of_others_as_it_was() -> None:
    before = torch.get_rng_state()
    first, second, other = (_layers(seed) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_make_layers_at_once_get_those_of_their_seeds() -> None:
    """Without a turn for each, most of them drew some of the others' numbers."""
    at_once = Barrier(4)

    def made(seed: int) -> Tensor:
        at_once.wait(60)
        return _layers(seed)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(made, [1, 2, 3, 1] * 5))
    expected = {seed: _layers(seed) for seed in (1, 2, 3)}
    assert all(torch.equal(one, expected[seed]) for one, seed in zip(found, [1, 2, 3, 1] * 5, strict=True))


def _layers(seed: int) -> Tensor:
    with initialised_from(seed):
        made = [nn.Linear(64, 64) for _ in range(20)]
    return torch.cat([layer.weight.detach().flatten() for layer in made])
