"""How many examples: few in CI, `CRYOBRIDGE_FUZZ_EXAMPLES=100000` for a long run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("CRYOBRIDGE_FUZZ_EXAMPLES", "150")),
    # One example has two seconds, however busy the machine: a hang is found, a slow processor is not.
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    # A CI run that fails must fail again; a long run looks further each time.
    derandomize="CRYOBRIDGE_FUZZ_EXAMPLES" not in os.environ,
    database=None,
)
settings.load_profile("fuzz")
