"""Checks of an installation as a service: its units, its socket, its user, that user's GPUs, and its state.

Runs as any user, and tells what that user can see. Where no service is installed there is nothing to check.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryobridge.schemas.config import load
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.wire import system_socket_path

from ..install.service_files import SERVICE_USER, Scope, ServiceFile, service_files
from .finding import Finding, Level
from .permissions import may_open

CHECK = "service"
UVM = "nvidia-uvm"
ENOUGH_STATE_BYTES = 200_000_000
_UNIT_FOLDERS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_SOME_PROGRAM = Path("/cryobridge")
"""For files in which no program is named, and for their names."""
_STARTS = re.compile(r"(/\S+/cryobridge) serve ")


def check_service(environment: Mapping[str, str], root: Path = Path("/")) -> Iterator[Finding]:
    """What is installed is whole, of this version, and can be used by this user.

    Parameters
    ----------
    environment
        Says where this user's units are.
    root
        The machine's root folder.
    """
    user_units = _found(Scope.USER, root, environment)
    for unit in user_units:
        yield check_unit(unit, Scope.USER, root, environment)
    units = _found(Scope.SYSTEM, root, environment)
    if not units:
        if not user_units:
            yield Finding(CHECK, Level.OK, "none is installed, and none is needed: RELION's first call starts a daemon")
        return
    for unit in units:
        yield check_unit(unit, Scope.SYSTEM, root, environment)
    yield check_socket(root / system_socket_path().relative_to("/"))
    try:
        uid = pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        yield Finding(
            "service user", Level.FAIL, f"there is no user {SERVICE_USER}", "systemd-sysusers cryobridge.conf"
        )
        return
    yield from check_gpu_nodes(uid, root / "dev")
    yield from check_state(uid, root)


def _found(scope: Scope, root: Path, environment: Mapping[str, str]) -> list[Path]:
    """The units of ours that are installed, wherever a unit may be."""
    names = [file.path for file in _ours(scope, root, environment, _SOME_PROGRAM)]
    if scope is Scope.USER:
        return [path for path in names if path.exists()]
    places = ([root / folder / path.name for folder in _UNIT_FOLDERS] for path in names)
    return [found for found in (next((one for one in place if one.exists()), None) for place in places) if found]


def _ours(scope: Scope, root: Path, environment: Mapping[str, str], program: Path) -> list[ServiceFile]:
    files = service_files(scope, program, root, environment)
    return [file for file in files if file.path.suffix in {".service", ".socket"}]


def check_unit(path: Path, scope: Scope, root: Path, environment: Mapping[str, str]) -> Finding:
    """A unit is as this version writes it, and the program that it starts is there."""
    again = f"cryobridge install --{scope}"
    try:
        text = ServiceFile(path, "").found() or ""
        starts = _STARTS.search(text)
        program = Path(starts[1]) if starts else _SOME_PROGRAM
        expected = next(one.text for one in _ours(scope, root, environment, program) if one.path.name == path.name)
    except CryobridgeError as error:
        return Finding(CHECK, Level.FAIL, str(error), again)
    if starts and not os.access(root / program.relative_to("/"), os.X_OK):
        return Finding(CHECK, Level.FAIL, f"{path} starts {program}, which is no program here", again)
    if text != expected:
        return Finding(CHECK, Level.WARN, f"{path} is not what this version writes", f"{again}, then do what it says")
    return Finding(CHECK, Level.OK, f"{path} is of this version{f' and starts {program}' if starts else ''}")


def check_socket(path: Path) -> Finding:
    """The machine's socket is there, and this user may connect to it."""
    check = "service socket"
    start = "systemctl enable --now cryobridge.socket"
    try:
        found = path.stat()
    except OSError as error:
        return Finding(check, Level.FAIL, f"{path}: {error.strerror}; calls go to daemons of their users", start)
    if not stat.S_ISSOCK(found.st_mode):
        return Finding(check, Level.FAIL, f"{path} is no socket", f"remove it, then {start}")
    group = _group_name(found.st_gid)
    mode = stat.S_IMODE(found.st_mode)
    for_whom = "everybody" if mode & stat.S_IWOTH else f"group {group}" if mode & stat.S_IWGRP else "its owner alone"
    text = f"{path} has mode {mode:04o}: {for_whom} may connect"
    if os.access(path, os.W_OK):
        return Finding(check, Level.OK, text)
    return Finding(
        check,
        Level.WARN,
        f"{text}, you may not: your calls go to a daemon of your own",
        f"usermod -aG {group} NAME and a new login, or another SocketMode= by 'systemctl edit cryobridge.socket'",
    )


def check_gpu_nodes(uid: int, devices: Path) -> Iterator[Finding]:
    """The service's user may use the nodes of NVIDIA's GPUs, and those that are made late are there."""
    check = "service GPUs"
    nodes = sorted(node for node in devices.glob("nvidia*") if not node.is_dir())
    if not nodes:
        return
    closed = [node for node in nodes if not may_open(uid, node, os.R_OK) or not may_open(uid, node, os.W_OK)]
    if closed:
        group = _group_name(closed[0].stat().st_gid)
        yield Finding(
            check,
            Level.FAIL,
            f"user {SERVICE_USER} may not use {closed[0]}",
            f"usermod -aG {group} {SERVICE_USER} && systemctl restart cryobridge",
        )
    if not (devices / UVM).exists():
        yield Finding(
            check,
            Level.FAIL,
            f"{devices / UVM} is not there, and the service has no right to make it",
            f"nvidia-modprobe -c0 -u && systemctl restart cryobridge; for every boot: "
            f"echo {UVM} > /etc/modules-load.d/{UVM}.conf",
        )
    elif not closed:
        yield Finding(check, Level.OK, f"user {SERVICE_USER} may use {len(nodes)} nodes")


def check_state(uid: int, root: Path) -> Iterator[Finding]:
    """The service's configuration can be read, its state folder is its own and has room."""
    check = "service state"
    config = root / "etc/cryobridge/config.yaml"
    try:
        folder = load(config, environment={}).config.state_path({})
    except CryobridgeError as error:
        yield Finding(check, Level.FAIL, str(error), "correct it, or remove it and 'cryobridge install --system'")
        return
    place = root / folder.relative_to("/")
    try:
        owner = place.stat().st_uid
        free = shutil.disk_usage(place).free
    except FileNotFoundError:
        yield Finding(check, Level.OK, f"{folder} is made at the first start")
        return
    except OSError as error:
        yield Finding(check, Level.OK, f"{folder} cannot be looked at by this user ({error.strerror})")
        return
    if owner != uid:
        advice = f"chown -R {SERVICE_USER}: {folder}"
        yield Finding(check, Level.FAIL, f"{folder} is not {SERVICE_USER}'s: nothing can be kept", advice)
    elif free < ENOUGH_STATE_BYTES:
        yield Finding(
            check, Level.WARN, f"{folder} has {free / 1e6:.0f} MB left", "make room: without it no job is accepted"
        )
    else:
        yield Finding(check, Level.OK, f"{folder} is {SERVICE_USER}'s, {free / 1e9:.1f} GB free")


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
