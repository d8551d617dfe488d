"""A daemon that is killed at any instant costs no refinement, and no half its partner.

Both hooks exit 0 with a whole map in place, of one kind for both halves, and one line in RELION's log says which.
It takes minutes, so it is a file of its own, which runs beside the others.
"""

import os
import random
import signal
import time

import numpy as np
import pytest
from support.answers import assert_corrected, is_standard, result_lines

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS = int(os.environ.get("CRYOBRIDGE_KILLS", "20"))


@pytest.mark.timeout(1500)
def test_a_daemon_killed_at_any_instant(refinement, stock_maps, private_runtime):
    """The instants are random, over the length of a call and a little more; most fall into the work itself."""
    seed = int(os.environ.get("CRYOBRIDGE_KILL_SEED", str(random.SystemRandom().randrange(10**6))))
    instants = random.Random(seed)
    started = time.monotonic()
    assert_corrected(refinement.iterate(3), stock_maps)
    cold_s = time.monotonic() - started
    outcomes = {"corrected": 0, "standard": 0}
    for kill in range(KILLS):
        iteration = 4 + kill
        calls = [refinement.begin(iteration, half) for half in (1, 2)]
        time.sleep(instants.uniform(0, cold_s * 1.3))
        pid = private_runtime.daemon_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        for call in calls:
            assert call.wait() == 0, f"seed {seed}, kill {kill}: {call.text}"
            assert np.isfinite(call.map()).all()
            assert call.map().shape == stock_maps[call.half].shape
            assert len(result_lines(call)) == 1, f"seed {seed}, kill {kill}: {call.text}"
        standard = [is_standard(call, stock_maps) for call in calls]
        assert standard[0] == standard[1], f"seed {seed}, kill {kill}: the halves differ\n" + "\n".join(
            call.text for call in calls
        )
        for call, was_standard in zip(calls, standard, strict=True):
            assert ("standard map" in result_lines(call)[0]) == was_standard
        outcomes["standard" if standard[0] else "corrected"] += 1
    print(f"seed {seed}: {outcomes}")
    assert_corrected(refinement.iterate(4 + KILLS), stock_maps)
