"""How many bytes of a device a job may have, and on which of several devices one that wants so many may begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..gpus import ListGpus, nvidia_gpus

RESERVED_BYTES = 2_000_000_000
"""Of a GPU's memory, for the contexts of processes on it, and a call beside a job; reckoned, not measured on one."""


def device_budgets(devices: Sequence[str], list_gpus: ListGpus = nvidia_gpus) -> dict[str, int]:
    """Bytes that a job may have on each GPU, by its name here; nothing is said of the CPU."""
    if not any(device.startswith("cuda") for device in devices):
        return {}
    total = {f"cuda:{gpu.uuid}": gpu.total_bytes for gpu in list_gpus()}
    return {device: max(0, total[device] - RESERVED_BYTES) for device in devices if device in total}


def holds(budget: int | None, wants: int | None, budgets: Iterable[int | None]) -> bool:
    """Whether a job that wants so many bytes may begin on a device of this budget.

    Parameters
    ----------
    budget
        Of the device; None where nothing is said of it, and then it holds everything.
    wants
        Of the job; None where it is not known.
    budgets
        Of all devices that the job may use. What fits on none of those of which something is said goes where there is
        most, and makes do there with smaller batches.
    """
    if wants is None or budget is None or wants <= budget:
        return True
    return wants > max((one for one in budgets if one is not None), default=0) == budget
