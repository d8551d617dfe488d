"""Numbers that follow from a place alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.core.training import Order, generator_at

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
