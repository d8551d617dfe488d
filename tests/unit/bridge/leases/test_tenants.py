"""The machine's side of leases: who is told what, what a call waits for, and what is left when a tenant goes."""

from __future__ import annotations

import pytest
from support.fake_pool import Clock

from cryobridge.bridge.leases.shares import HALF_LIFE_S, Shares
from cryobridge.bridge.leases.tenants import CALM_S, LATE_S, MOST_OF_A_USER, Business, Tenants
from cryobridge.bridge.leases.turns import Rules
from cryobridge.schemas.codes import Code
from cryobridge.schemas.frames import TypedFrame
from cryobridge.schemas.leases import AskDevice, DeviceRefused, ReturnDevice, StoodAside

GIVE_WAY_S = 5.0


class NotingTenant:
    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.last_sent = 0.0
        self.sent: list[TypedFrame] = []
        self.refused = ""

    def send(self, frame: TypedFrame) -> None:
        self.sent.append(frame)

    def refuse(self, code: Code, text: str) -> None:
        self.refused = text

    def told(self) -> list[str]:
        return [frame.type for frame in self.sent if frame.type != "heartbeat"]


class Machine:
    def __init__(self, *devices: str) -> None:
        self.clock = Clock()
        self.business = {device: Business(False, False, True) for device in devices}
        self.changes = 0
        rules = Rules(turn_s=100.0)
        self.tenants = Tenants(devices, self.business.__getitem__, rules, GIVE_WAY_S, self._changed, self.clock)

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, link: NotingTenant, lease: str, **more) -> None:
        frame = AskDevice(lease=lease, **{"priority": "batch", **more})
        self.tenants.frame(link, frame.as_message())

    def say(self, link: NotingTenant, frame: TypedFrame) -> None:
        self.tenants.frame(link, frame.as_message())

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.tenants.tick(self.clock.now)

    def states(self) -> list[str]:
        return [row["state"] for row in self.tenants.snapshot()]


@pytest.fixture
def machine() -> Machine:
    return Machine("cpu")


def test_a_device_is_granted_and_the_next_one_has_it_when_it_is_given_back(machine: Machine) -> None:
    first, second = NotingTenant(1), NotingTenant(2)
    machine.ask(first, "a")
    machine.ask(second, "b")
    assert (first.told(), second.told()) == (["device_granted"], [])
    assert machine.tenants.occupies("cpu")
    machine.say(first, ReturnDevice(lease="a"))
    assert second.told() == ["device_granted"]


def test_a_call_waits_until_the_job_has_left_and_the_job_goes_on_when_all_is_calm(machine: Machine) -> None:
    tenant = NotingTenant(1)
    machine.ask(tenant, "a")
    assert not machine.tenants.clears("cpu")
    assert tenant.told()[-1] == "stand_aside"
    changes = machine.changes
    machine.say(tenant, StoodAside(lease="a"))
    assert machine.changes > changes, "the pool looks again at once"
    assert machine.tenants.clears("cpu")
    machine.pass_time(CALM_S / 2)
    assert machine.states() == ["aside"]
    machine.business["cpu"] = Business(True, False, True)
    machine.pass_time(10)
    assert machine.states() == ["aside"]
    machine.business["cpu"] = Business(False, False, True)
    machine.pass_time(CALM_S)
    assert tenant.told()[-1] == "go_on"


def test_a_call_waits_no_longer_than_it_is_to_and_a_job_that_stays_loses_its_device(machine: Machine) -> None:
    tenant = NotingTenant(77)
    machine.ask(tenant, "a")
    assert not machine.tenants.clears("cpu")
    machine.clock.now += GIVE_WAY_S
    assert machine.tenants.clears("cpu")
    assert machine.tenants.problem is None
    machine.pass_time(LATE_S + 1)
    (refused,) = [frame for frame in tenant.sent if isinstance(frame, DeviceRefused)]
    assert refused.code == Code.STALLED
    assert "uid 77" in str(machine.tenants.problem)
    assert not machine.tenants.occupies("cpu")


def test_our_own_pause_is_not_a_jobs_slowness_to_leave(machine: Machine) -> None:
    tenant = NotingTenant(77)
    machine.ask(tenant, "a")
    machine.tenants.clears("cpu")
    machine.tenants.forgive(LATE_S)
    machine.pass_time(LATE_S + 1)
    assert machine.states() == ["leaving"]


def test_whatever_a_tenant_had_is_free_when_it_goes(machine: Machine) -> None:
    first, second = NotingTenant(1), NotingTenant(2)
    for lease in "abc":
        machine.ask(first, lease)
    machine.ask(second, "b")
    machine.tenants.gone(first)
    assert second.told() == ["device_granted"]
    assert machine.states() == ["active"]


def test_one_that_had_a_device_before_the_daemon_was_started_anew_goes_on_there() -> None:
    machine = Machine("d1", "d2")
    tenant = NotingTenant(1)
    machine.ask(tenant, "a", held="d2")
    assert tenant.told() == ["go_on"]
    assert machine.tenants.snapshot()[0]["device"] == "d2"
    machine.ask(tenant, "b", held="gone")
    assert tenant.sent[-1].type == "device_granted", "a device that is not there any more is no claim"


def test_a_user_asks_for_a_bounded_number_and_a_lease_has_one_name(machine: Machine) -> None:
    tenant, other = NotingTenant(1), NotingTenant(1)
    machine.ask(tenant, "0")
    machine.ask(tenant, "0")
    assert tenant.sent[-1].type == "device_refused"
    for number in range(1, MOST_OF_A_USER):
        machine.ask(other, str(number))
    machine.ask(other, "more")
    assert "64 devices at once" in other.sent[-1].text


def test_a_device_that_is_not_there_is_refused_and_nonsense_ends_the_connection(machine: Machine) -> None:
    tenant = NotingTenant(1)
    machine.ask(tenant, "a", devices="gpu")
    assert tenant.told() == ["device_refused"]
    machine.tenants.frame(tenant, {"type": "make coffee"})
    assert "make coffee" in tenant.refused


def test_nothing_is_granted_while_the_daemon_drains(machine: Machine) -> None:
    machine.tenants.accepting = False
    tenant = NotingTenant(1)
    machine.ask(tenant, "a")
    assert tenant.told() == []
    machine.tenants.accepting = True
    machine.pass_time(1)
    assert tenant.told() == ["device_granted"]


def test_a_batch_job_that_waited_for_several_turns_is_not_passed_by_interactive_ones(machine: Machine) -> None:
    busy, patient = NotingTenant(1), NotingTenant(2)
    machine.ask(busy, "0", priority="interactive")
    machine.ask(patient, "long")
    for number in range(1, 9):
        machine.ask(busy, str(number), priority="interactive")
        machine.pass_time(60)
        machine.say(busy, ReturnDevice(lease=str(number - 1)))
        if patient.told():
            break
    assert patient.told() == ["device_granted"]


def test_what_was_used_fades() -> None:
    clock = Clock()
    shares = Shares(clock)
    shares.charge(1, 100.0)
    clock.now += HALF_LIFE_S
    shares.charge(2, 80.0)
    assert shares.used_s() == pytest.approx({1: 50.0, 2: 80.0})
    clock.now += 20 * HALF_LIFE_S
    assert shares.used_s() == {}
