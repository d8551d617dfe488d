"""The frames between a user's own daemon and the machine's: devices asked for, granted, left for a while, given back.

The user's own daemon (the tenant) runs jobs with its user's rights; the machine's (the landlord) says when, and on
which device. Standard library only.
"""

from __future__ import annotations

from typing import Literal

from . import fields
from .codes import AnyCode, Code
from .frames import Family, TypedFrame
from .messages import Heartbeat

TENANT = "tenant"
"""What a tenant calls itself in its greeting."""
_MAX_LEASE_CHARACTERS = 64
_MAX_DEVICE_CHARACTERS = 1000

# ---- from the tenant


class AskDevice(TypedFrame):
    """A device is wanted for one job.

    Attributes
    ----------
    lease
        The tenant's own name for it.
    kind
        Of the job, for who looks at the machine.
    devices
        As `run.devices` of a job.
    device_bytes
        The most of a device's memory that the job wants, where that is known.
    held
        The device that the job is on already, because the landlord was started anew meanwhile.
    """

    type = "ask_device"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)
    kind: str = fields.line(default="", limit=64)
    priority: Literal["interactive", "batch"] = fields.choice("interactive", "batch")
    devices: str = fields.text(_MAX_DEVICE_CHARACTERS, default="auto")
    device_bytes: int | None = fields.whole(0, 2**63 - 1, default=None)
    held: str | None = fields.text(_MAX_DEVICE_CHARACTERS, default=None)


class ReturnDevice(TypedFrame):
    """A device, or the wish for one, is given up: the job has ended."""

    type = "return_device"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)


class StoodAside(TypedFrame):
    """The job keeps nothing on its device now, and does nothing till it is told to go on."""

    type = "stood_aside"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)


# ---- to the tenant


class DeviceGranted(TypedFrame):
    """A job may begin on a device."""

    type = "device_granted"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)
    device: str = fields.text(_MAX_DEVICE_CHARACTERS, least=1)


class DeviceRefused(TypedFrame):
    """A job gets no device, or must leave the one it has for good."""

    type = "device_refused"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)
    code: AnyCode = fields.code(default=Code.REJECTED)
    text: str = fields.line(default="")


class StandAside(TypedFrame):
    """Something more urgent needs the device: leave it at the next step."""

    type = "stand_aside"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)


class GoOn(TypedFrame):
    """The device is free again for the job that stood aside."""

    type = "go_on"
    lease: str = fields.text(_MAX_LEASE_CHARACTERS, least=1)


FromTenant = AskDevice | ReturnDevice | StoodAside | Heartbeat
FROM_TENANT = Family[FromTenant](
    "a user's own daemon does not send '{}' to the machine's", AskDevice, ReturnDevice, StoodAside, Heartbeat
)
ToTenant = DeviceGranted | DeviceRefused | StandAside | GoOn | Heartbeat
TO_TENANT = Family[ToTenant](
    "the machine's daemon does not send '{}' to a user's own",
    DeviceGranted,
    DeviceRefused,
    StandAside,
    GoOn,
    Heartbeat,
)
