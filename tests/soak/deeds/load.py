"""More than usual of what is allowed: hooks, jobs, questions."""

from __future__ import annotations

import random
import time

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.wire import WireError

from ..stage import Stage
from .deed import Deed

MANY_HOOKS, MANY_JOBS, MANY_QUESTIONS = 5, 30, 20_000


def many_hooks(stage: Stage, dice: random.Random) -> str:
    """Refinements that call at the same time."""
    ends = stage.services["refining"].burst(MANY_HOOKS, dice.randrange(2**32), correct=dice.random() < 0.5)
    return f"{len(ends)} calls, {sum(end.made == 'corrected' for end in ends)} corrected"


def many_jobs(stage: Stage, dice: random.Random) -> str:
    """Jobs in one go on one connection; those over a user's share are refused."""
    submitting = stage.services["submitting"]
    base = dice.randrange(2**40)
    outputs = [submitting.output() for _ in range(MANY_JOBS)]
    taken = 0
    try:
        channel = stage.channel()
        channel.receive(10).close()
        for number, output in enumerate(outputs):
            spec = submitting.spec("lowpass", output, request_id=f"many-{base}-{number}")
            channel.send({"type": "submit", "spec": spec})
        for number, output in enumerate(outputs):
            reply = channel.receive(15).message
            if reply["type"] == "reply":
                taken += 1
                submitting.acknowledged(reply["job_id"], "lowpass", output, f"many-{base}-{number}")
        channel.close()
    except (WireError, OSError) as error:
        return f"{taken} taken, then {error}"
    return f"{taken} of {MANY_JOBS} taken"


def many_questions(stage: Stage, dice: random.Random) -> str:
    """Questions without waiting for answers, which are read late; others must not notice."""
    answered = 0
    try:
        channel = stage.channel()
        channel.sock.settimeout(5)
        for _ in range(MANY_QUESTIONS):
            channel.send({"type": "status"})
            answered += 1
    except (CryobridgeError, WireError, OSError) as error:
        return f"cut off after {answered} questions: {error}"
    time.sleep(1.0)
    channel.close()
    return f"{answered} questions sent"


DEEDS = (
    Deed("many hooks at once", many_hooks),
    Deed("many jobs at once", many_jobs),
    Deed("many questions at once", many_questions),
)
