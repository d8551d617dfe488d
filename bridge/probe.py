"""Answers load balancers and scripts: does a daemon live, does it take calls? Loads little, so it answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable
from cryobridge.schemas.requests import AskStatus

from .client import DaemonClient, degradations
from .terminal import printable

PROBES = ("live", "ready")


def is_probe(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of these and nothing else."""
    return bool(arguments) and arguments[0] in PROBES and list(arguments[1:]) in ([], ["--json"])


def probe(what: str, *, as_json: bool = False) -> int:
    """Say whether the daemon is live, or ready; return the exit code: 0 yes, 4 not ready, 3 no daemon."""
    try:
        with DaemonClient.connect() as client:
            # The greeting is an answer of the daemon's loop: it lives.
            status = {} if what == "live" else client.request(AskStatus())
            greeting = client.welcome.state
    except DaemonUnavailable as error:
        _say(as_json, {"live": False, "ready": False, "text": str(error)}, f"no daemon: {error}")
        return wire.EXIT_NO_DAEMON
    except CryobridgeError as error:
        _say(as_json, {"live": True, "ready": False, "text": str(error)}, f"not ready: {error}")
        return wire.EXIT_DEGRADED
    if what == "live":
        _say(as_json, {"live": True, "state": greeting}, "live")
        return wire.EXIT_OK
    health = status.get("health")
    ready = greeting == "ready" and isinstance(health, dict) and health.get("ready") is True
    problems = degradations(status)
    words = "; ".join(problems or ([] if ready else [f"the daemon is {greeting}"]))
    answer = "ready" if ready else "not ready"
    said = {"live": True, "ready": ready, "state": greeting, "problems": problems}
    _say(as_json, said, f"{answer}: {words}" if words else answer)
    return wire.EXIT_OK if ready else wire.EXIT_DEGRADED


def _say(as_json: bool, values: wire.Message, words: str) -> None:
    sys.stdout.write((json.dumps(values) if as_json else printable(words)) + "\n")
