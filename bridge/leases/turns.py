"""Whose turn it is on each device: a pure function over a snapshot, no clock and no sockets.

RELION's calls come first: while there are any on a device, everybody else leaves it. Of jobs, interactive ones go
before batch ones, and ask a batch job to leave; a batch job that has waited very long counts as one. Among equals the
user goes first who has the fewest devices now, then the one who has used the devices least of late, then the one who
asked first. A batch job whose turn has lasted for long leaves the device to one of a user who has used less, and goes
on later where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..pool.budgets import holds
from ..pool.scheduler import Priority


class LeaseState(StrEnum):
    """Where a lease is in its life."""

    WAITING = "waiting"
    ACTIVE = "active"
    LEAVING = "leaving"  # told to leave the device; its step ends first
    ASIDE = "aside"  # has left the device, and waits to go on


@dataclass(frozen=True)
class DeviceView:
    """A device as far as turns depend on it."""

    name: str
    calls: bool = False
    """Whether calls of RELION run or wait there, or did a moment ago."""
    taken: bool = False
    """Whether a job of the machine's own daemon is at work there."""
    ready: bool = True
    """False while no worker of the machine's own daemon lives there: calls would find none."""
    budget_bytes: int | None = None
    """Memory that jobs may have there; None where it is not known."""


@dataclass(frozen=True)
class LeaseView:
    """A lease as far as turns depend on it."""

    id: str
    uid: int
    priority: Priority
    order: int
    state: LeaseState = LeaseState.WAITING
    device: str | None = None
    devices: frozenset[str] | None = None
    """Where the job may run; None for anywhere."""
    wants_bytes: int | None = None
    turn_s: float = 0.0
    """For how long the job has had its device since it was granted or went on."""
    overdue: bool = False
    """Whether it has waited for so long, or had when it got its device, that it counts as interactive."""

    @property
    def urgency(self) -> Priority:
        """Its priority, or that of interactive work where it has waited too long behind it."""
        return min(self.priority, Priority.INTERACTIVE) if self.overdue else self.priority


@dataclass(frozen=True)
class Rules:
    """What an operator sets.

    turn_s: after so long a batch job leaves its device to a user who has used less; never where 0.
    most_aside: so many jobs may wait in the host's memory for each device.
    """

    turn_s: float = 1800.0
    most_aside: int = 2


class Do(StrEnum):
    """What is to become of a lease now."""

    GRANT = "grant"
    LEAVE = "leave"
    GO_ON = "go on"


@dataclass(frozen=True)
class TurnOfLease:
    """One decision."""

    lease: str
    do: Do
    device: str


def turns(
    devices: Iterable[DeviceView], leases: Iterable[LeaseView], used_s: Mapping[int, float], rules: Rules
) -> list[TurnOfLease]:
    """Decide who begins, leaves and goes on now.

    Parameters
    ----------
    devices
        All of the machine.
    leases
        All that are asked for or out.
    used_s
        Seconds of device time that each user has had of late.
    rules
        As the operator sets them.

    Returns
    -------
    list of TurnOfLease
        At most one for each device and each lease. At no time is more than one lease active or leaving on a device.
    """
    devices, leases = list(devices), list(leases)
    on_device = [one for one in leases if one.state in (LeaseState.ACTIVE, LeaseState.LEAVING)]
    running = Counter(one.uid for one in on_device)
    decided: list[TurnOfLease] = []
    gone: set[str] = set()
    for device in devices:
        here = [one for one in on_device if one.device == device.name]
        if device.calls:
            decided += [TurnOfLease(one.id, Do.LEAVE, device.name) for one in here if one.state is LeaseState.ACTIVE]
            continue
        if device.taken or not device.ready or any(one.state is LeaseState.LEAVING for one in here):
            continue
        able = [one for one in leases if one.id not in gone and _may_have(one, device, devices)]
        if not able:
            continue
        best = min(able, key=lambda one: _rank(one, running, used_s))
        if not here:
            gone.add(best.id)
            running[best.uid] += 1
            decided.append(TurnOfLease(best.id, Do.GO_ON if best.state is LeaseState.ASIDE else Do.GRANT, device.name))
        elif _gives_way(here[0], best, leases, used_s, rules):
            decided.append(TurnOfLease(here[0].id, Do.LEAVE, device.name))
    return decided


def _may_have(one: LeaseView, device: DeviceView, devices: list[DeviceView]) -> bool:
    """Whether a lease waits for this device: one that stood aside for its own, a new one for any that it may use."""
    if one.state is LeaseState.ASIDE:
        return one.device == device.name
    if one.state is not LeaseState.WAITING or not _allowed(one, device):
        return False
    return holds(
        device.budget_bytes, one.wants_bytes, (other.budget_bytes for other in devices if _allowed(one, other))
    )


def _allowed(one: LeaseView, device: DeviceView) -> bool:
    return one.devices is None or device.name in one.devices


def _rank(one: LeaseView, running: Mapping[int, int], used_s: Mapping[int, float]) -> tuple[int, int, float, bool, int]:
    # Of one user's own, what has begun goes before what has not: its memory is taken already.
    begun = one.state is LeaseState.ASIDE
    return one.urgency, running.get(one.uid, 0), used_s.get(one.uid, 0.0), not begun, one.order


def _gives_way(
    active: LeaseView, best: LeaseView, leases: Iterable[LeaseView], used_s: Mapping[int, float], rules: Rules
) -> bool:
    if best.urgency < active.urgency:
        within = True
    elif best.urgency == active.urgency:
        poorer = used_s.get(best.uid, 0.0) < used_s.get(active.uid, 0.0)
        within = best.uid != active.uid and poorer and 0 < rules.turn_s <= active.turn_s
    else:
        within = False
    aside = sum(one.state is LeaseState.ASIDE and one.device == active.device for one in leases)
    return within and aside + (best.state is not LeaseState.ASIDE) <= rules.most_aside
