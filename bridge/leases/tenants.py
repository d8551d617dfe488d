"""The machine's side of leases: users' own daemons ask for devices, and are told when to begin, leave and go on.

Whose turn it is says `turns`; this module keeps the book, tells the tenants, and knows when a device is clear for a
call of RELION. A tenant that goes away, for whatever reason, leaves nothing behind: its leases end with its
connection.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.frames import FrameInvalid, TypedFrame
from cryobridge.schemas.leases import (
    FROM_TENANT,
    AskDevice,
    DeviceGranted,
    DeviceRefused,
    GoOn,
    ReturnDevice,
    StandAside,
    StoodAside,
)
from cryobridge.schemas.messages import Heartbeat
from cryobridge.schemas.wire import HEARTBEAT_S, Message

from ..pool.devices import task_devices
from ..pool.scheduler import Priority
from .shares import Shares
from .turns import DeviceView, Do, LeaseState, LeaseView, Rules, TurnOfLease, turns

log = logging.getLogger(__name__)

MOST_OF_A_USER = 64
"""Leases that one user's daemons may have or ask for at once; they queue the rest themselves."""
CALM_S = 1.0
"""So long after the last call jobs stay away from its device: the halves of an iteration seldom come at once."""
LATE_S = 60.0
"""A job that has not left by then loses its lease, and its user is named to the operator."""


class TenantLink(Protocol):
    """A tenant's connection."""

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""

    @property
    def last_sent(self) -> float:
        """When it was last sent something, on the loop's clock."""

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame; never blocks."""

    def refuse(self, code: Code, text: str) -> None:
        """Say why, and hang up."""


@dataclass(frozen=True)
class Business:
    """What the machine's own workers do on a device."""

    calls: bool
    jobs: bool
    ready: bool
    budget_bytes: int | None = None


@dataclass(eq=False)
class _Lease:
    link: TenantLink
    id: str
    asked: AskDevice
    devices: frozenset[str] | None
    order: int
    state: LeaseState = LeaseState.WAITING
    device: str | None = None
    since: float = 0.0
    """When it came into its state, on the clock."""
    since_wall: float = field(default_factory=time.time)
    """The same in seconds since 1970."""
    overdue: bool = False

    @property
    def key(self) -> str:
        return str(self.order)

    @property
    def on_device(self) -> bool:
        return self.state in (LeaseState.ACTIVE, LeaseState.LEAVING)


class Tenants:
    """All leases of this machine.

    Parameters
    ----------
    devices
        What there is, by name.
    business
        What the machine's own workers do on each device now.
    rules
        See `turns.Rules`.
    give_way_s
        So long a call waits for a job to leave its device; it then begins beside it.
    changed
        Called when a device may have become clear for calls.
    clock
        Monotonic seconds, the loop's.
    """

    def __init__(
        self,
        devices: Sequence[str],
        business: Callable[[str], Business],
        rules: Rules,
        give_way_s: float,
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._devices = list(devices)
        self._business = business
        self._rules = rules
        self._give_way_s = give_way_s
        self._changed = changed
        self._clock = clock
        self._shares = Shares(clock)
        self._leases: list[_Lease] = []
        self._links: set[TenantLink] = set()
        self._orders = itertools.count()
        self._calls_at: dict[str, float] = {}
        self._wanted_since: dict[str, float] = {}
        self._looked_at = clock()
        self._late: dict[int, float] = {}
        self.accepting = True

    # ---- from the server

    def frame(self, link: TenantLink, message: Message) -> None:
        """A tenant's word."""
        try:
            word = FROM_TENANT.decode(message)
        except FrameInvalid as error:
            link.refuse(Code.REJECTED, str(error))
            return
        self._links.add(link)
        if isinstance(word, AskDevice):
            self._ask(link, word)
        elif isinstance(word, ReturnDevice):
            self._end(link, word.lease)
        elif isinstance(word, StoodAside):
            self._stood_aside(link, word.lease)
        self._turn()

    def gone(self, link: TenantLink) -> None:
        """A tenant has left, and all it had is free."""
        self._links.discard(link)
        self._leases = [one for one in self._leases if one.link is not link]
        self._turn()
        self._changed()

    # ---- from the pool

    def occupies(self, device: str) -> bool:
        """Whether a tenant's job is on a device, so that no job of the machine's own daemon may begin there."""
        return any(one.on_device and one.device == device for one in self._leases)

    def clears(self, device: str) -> bool:
        """Whether a call may begin on a device now; if a job is there it is told to leave, and does so soon."""
        now = self._clock()
        self._calls_at[device] = now
        if not self.occupies(device):
            self._wanted_since.pop(device, None)
            return True
        since = self._wanted_since.setdefault(device, now)
        self._turn()
        return now - since >= self._give_way_s

    # ---- the clock, and what others see

    def tick(self, now: float) -> None:
        """Reckon what was used, decide turns, end leases whose jobs do not leave, beat."""
        passed, self._looked_at = now - self._looked_at, now
        for one in self._leases:
            if one.on_device:
                self._shares.charge(one.link.uid, passed)
            late = one.state is LeaseState.LEAVING and now - one.since > LATE_S
            if late:
                self._late[one.link.uid] = now
                log.error("a job does not leave its device", extra={"uid": one.link.uid, "device": one.device})
                one.link.send(
                    DeviceRefused(lease=one.id, code=Code.STALLED, text=f"did not leave the device in {LATE_S:.0f} s")
                )
                self._leases = [other for other in self._leases if other is not one]
        self._turn()
        for link in self._links:
            if now - link.last_sent >= HEARTBEAT_S:
                link.send(Heartbeat())

    def forgive(self, seconds: float) -> None:
        """Do not count a time in which this process did not run as use, or as a job's slowness to leave."""
        self._looked_at += seconds
        for one in self._leases:
            if one.state is LeaseState.LEAVING:
                one.since += seconds

    @property
    def problem(self) -> str | None:
        """What an operator should know, or None."""
        now = self._clock()
        self._late = {uid: at for uid, at in self._late.items() if now - at < 3600.0}
        if not self._late:
            return None
        users = ", ".join(f"uid {uid}" for uid in sorted(self._late))
        return f"jobs of {users} did not leave a device for a call of RELION and lost it"

    def snapshot(self) -> list[dict[str, Any]]:
        """What `status` shows of the leases."""
        return [
            {
                "uid": one.link.uid,
                "kind": one.asked.kind,
                "priority": one.asked.priority,
                "state": one.state.value,
                "device": one.device,
                "since": round(one.since_wall),
            }
            for one in self._leases
        ]

    # ---- inside

    def _ask(self, link: TenantLink, asked: AskDevice) -> None:
        mine = [one for one in self._leases if one.link.uid == link.uid]
        try:
            if any(one.id == asked.lease and one.link is link for one in mine):
                raise JobRejected(f"there is a lease {asked.lease} already")
            if len(mine) >= MOST_OF_A_USER:
                raise JobRejected(f"a user may ask for {MOST_OF_A_USER} devices at once")
            devices = task_devices(asked.devices, self._devices)
        except JobRejected as error:
            link.send(DeviceRefused(lease=asked.lease, code=error.code, text=str(error)))
            return
        one = _Lease(link, asked.lease, asked, devices, next(self._orders), since=self._clock())
        if asked.held in self._devices:
            # It was granted by this daemon's predecessor, and has stood aside since that went away.
            one.state, one.device = LeaseState.ASIDE, asked.held
        self._leases.append(one)

    def _end(self, link: TenantLink, lease: str) -> None:
        self._leases = [one for one in self._leases if one.link is not link or one.id != lease]
        self._changed()

    def _stood_aside(self, link: TenantLink, lease: str) -> None:
        for one in self._leases:
            if one.link is link and one.id == lease and one.state is LeaseState.LEAVING:
                self._set(one, LeaseState.ASIDE)
        self._changed()

    def _turn(self) -> None:
        now = self._clock()
        by_key = {one.key: one for one in self._leases}
        devices = [self._device_view(name, now) for name in self._devices]
        for turn in turns(devices, [self._view(one, now) for one in self._leases], self._shares.used_s(), self._rules):
            if turn.do is not Do.GRANT or self.accepting:
                self._tell(by_key[turn.lease], turn)

    def _tell(self, one: _Lease, turn: TurnOfLease) -> None:
        log.info("lease", extra={"uid": one.link.uid, "kind": one.asked.kind, "does": turn.do, "device": turn.device})
        if turn.do is Do.LEAVE:
            self._set(one, LeaseState.LEAVING)
            one.link.send(StandAside(lease=one.id))
            return
        one.overdue = self._is_overdue(one, self._clock())
        one.device = turn.device
        self._set(one, LeaseState.ACTIVE)
        granted = turn.do is Do.GRANT
        one.link.send(DeviceGranted(lease=one.id, device=turn.device) if granted else GoOn(lease=one.id))

    def _set(self, one: _Lease, state: LeaseState) -> None:
        one.state, one.since, one.since_wall = state, self._clock(), time.time()

    def _device_view(self, name: str, now: float) -> DeviceView:
        business = self._business(name)
        if business.calls:
            self._calls_at[name] = now
        recent = now - self._calls_at.get(name, -CALM_S) < CALM_S
        return DeviceView(name, recent, business.jobs, business.ready, business.budget_bytes)

    def _view(self, one: _Lease, now: float) -> LeaseView:
        return LeaseView(
            id=one.key,
            uid=one.link.uid,
            priority=Priority.INTERACTIVE if one.asked.priority == "interactive" else Priority.BATCH,
            order=one.order,
            state=one.state,
            device=one.device,
            devices=one.devices,
            wants_bytes=one.asked.device_bytes,
            turn_s=now - one.since if one.state is LeaseState.ACTIVE else 0.0,
            overdue=one.overdue if one.on_device else self._is_overdue(one, now),
        )

    def _is_overdue(self, one: _Lease, now: float) -> bool:
        """Whether it has waited for several turns, behind interactive jobs that keep coming."""
        waits = one.state in (LeaseState.WAITING, LeaseState.ASIDE)
        return waits and self._rules.turn_s > 0 and now - one.since > 4 * self._rules.turn_s
