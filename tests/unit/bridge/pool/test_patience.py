"""Patience: a peer gets its time, and is not charged for ours."""

from __future__ import annotations

import asyncio
import time

from cryobridge.bridge.pool.patience import Patience


def test_its_time_passes_once_and_only_unless_it_is_stopped() -> None:
    async def wait() -> None:
        over: list[str] = []
        loop = asyncio.get_running_loop()
        passing, stopped, endless = (
            Patience(loop, limit_s, lambda name=name: over.append(name))  # type: ignore[misc]
            for name, limit_s in (("passing", 0.05), ("stopped", 0.05), ("endless", None))
        )
        for one in (passing, stopped, endless):
            one.start()
        await asyncio.sleep(0.03)
        stopped.stop()
        passing.start()
        await asyncio.sleep(0.1)
        assert over == ["passing"]
        stopped.start()
        await asyncio.sleep(0.1)
        assert over == ["passing", "stopped"]

    asyncio.run(wait())


def test_a_loop_that_stood_still_does_not_use_it_up() -> None:
    async def wait() -> None:
        over: list[float] = []
        patience = Patience(asyncio.get_running_loop(), 0.2, lambda: over.append(time.monotonic()))
        patience.start()
        for _ in range(3):
            await asyncio.sleep(0.01)
            time.sleep(0.3)
        await asyncio.sleep(0.01)
        assert over == []
        await asyncio.sleep(0.3)
        assert len(over) == 1

    asyncio.run(wait())
