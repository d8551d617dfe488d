"""From a configuration to a daemon that runs, and to its exit code: address, database, signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from cryobridge.schemas.config import Loaded
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK, EXIT_USAGE

from ..log_file import LOG_NAME
from ..pool.place import Spawn
from ..queue.incidents import Incidents
from ..queue.opening import open_store
from ..queue.store import Store, StoreUnavailable
from . import logs
from .listening import AlreadyRunning, ListeningSocket, listen
from .process import Daemon
from .rights import Rights

log = logging.getLogger(__name__)


def run(loaded: Loaded, *, autospawned: bool = False, spawn: Spawn | None = None) -> int:
    """Run a daemon until it is told to stop; return its exit code."""
    config = loaded.config
    os.umask(0o077)
    _raise_descriptor_limit()
    try:
        rights = Rights(config.operators)
    except CryobridgeError as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_USAGE
    try:
        listening = listen(config.socket_path(), int(config.socket_mode, 8))
    except AlreadyRunning as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_OK
    except CryobridgeError as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_FAILED
    path = listening.path
    astray = ""
    try:
        folder = config.state_path()
        try:
            store, incidents = _open_store(folder, config.log_level, quiet=autospawned)
        except StoreUnavailable as error:
            if not autospawned:
                raise
            # A refinement must not go without its daemon because a home folder is read-only or full.
            folder = path.with_name(f"{path.name}.state")
            store, incidents = _open_store(folder, config.log_level, quiet=autospawned)
            log.warning("state kept beside the socket", extra={"folder": str(folder), "because": str(error)})
            astray = (
                f"the daemon serves refinements only, and takes no jobs because it could not keep them: {error}; "
                "then end it with 'cryobridge stop', the next one takes jobs"
            )
        return asyncio.run(_serve(loaded, rights, listening, store, incidents, folder, autospawned, astray, spawn))
    except (CryobridgeError, OSError) as error:
        listening.close()
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_FAILED


def _open_store(folder: Path, log_level: str, *, quiet: bool) -> tuple[Store, Incidents]:
    """Make the folder, begin to log there (only warnings to stderr when `quiet`), open the database."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs.set_up(log_level, logs.usable(folder / LOG_NAME), "WARNING" if quiet else None)
    except OSError as error:
        raise StoreUnavailable(f"{folder}: {error.strerror or error}; set state_dir") from error
    return open_store(folder / "jobs.sqlite")


async def _serve(
    loaded: Loaded,
    rights: Rights,
    listening: ListeningSocket,
    store: Store,
    incidents: Incidents,
    folder: Path,
    autospawned: bool,
    astray: str,
    spawn: Spawn | None,
) -> int:
    loop = asyncio.get_running_loop()
    daemon = Daemon(
        loaded, rights, listening, store, folder, incidents, loop, autospawned=autospawned, astray=astray, spawn=spawn
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.signalled)
    # A closed terminal must not end refinements.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    daemon.start()
    await daemon.done.wait()
    await daemon.close()
    return EXIT_OK


def _raise_descriptor_limit() -> None:
    """Every call brings a dozen descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
