"""Budgets of devices: what fits goes where it fits, what fits nowhere where there is most, and nothing goes nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.bridge.gpus import Gpu
from cryobridge.bridge.pool.budgets import RESERVED_BYTES, device_budgets, holds

BUDGETS = st.lists(st.one_of(st.none(), st.integers(0, 100)), min_size=1, max_size=6)


def test_a_gpu_gives_what_is_left_beside_a_call_and_nothing_is_said_of_the_cpu() -> None:
    gpus = [Gpu(0, "GPU-1", "one", 24_000_000_000, 1)]
    assert device_budgets(["cuda:GPU-1", "cuda:GPU-2", "cpu"], lambda: gpus) == {
        "cuda:GPU-1": 24_000_000_000 - RESERVED_BYTES
    }
    assert device_budgets(["cpu"], lambda: pytest.fail("no driver is asked")) == {}


@given(budgets=BUDGETS, wants=st.one_of(st.none(), st.integers(0, 120)))
def test_every_job_may_begin_somewhere(budgets: list[int | None], wants: int | None) -> None:
    assert any(holds(budget, wants, budgets) for budget in budgets)


@given(budgets=BUDGETS, wants=st.integers(0, 120))
def test_a_job_begins_where_it_does_not_fit_only_if_it_fits_on_no_device_and_there_on_the_largest(
    budgets: list[int | None], wants: int
) -> None:
    known = [budget for budget in budgets if budget is not None]
    for budget in known:
        if holds(budget, wants, budgets) and wants > budget:
            assert budget == max(known)


@given(budgets=BUDGETS, wants=st.integers(0, 120))
def test_where_a_job_fits_or_nothing_is_known_it_may_begin(budgets: list[int | None], wants: int) -> None:
    assert all(holds(budget, wants, budgets) for budget in budgets if budget is None or wants <= budget)
