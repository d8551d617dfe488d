"""Variables of the environment that look like ours and are none: named in RELION's log, each with the nearest there is.

A misspelt variable is silent otherwise, and the run is not what the user wished.
"""

from __future__ import annotations

from collections.abc import Mapping

KNOWN = frozenset(
    {
        "CRYOBRIDGE_CONFIG",
        "CRYOBRIDGE_CORRECTION",
        "CRYOBRIDGE_DEADLINES__CANCEL_S",
        "CRYOBRIDGE_DEADLINES__CORRECT_S",
        "CRYOBRIDGE_DEADLINES__DRAIN_S",
        "CRYOBRIDGE_DEADLINES__PARTNER_S",
        "CRYOBRIDGE_DEADLINES__SILENCE_S",
        "CRYOBRIDGE_DEADLINES__STANDARD_S",
        "CRYOBRIDGE_DEADLINES__STILL_S",
        "CRYOBRIDGE_DEADLINES__VERIFY_S",
        "CRYOBRIDGE_DEADLINES__WORKER_START_S",
        "CRYOBRIDGE_DEADLINE_S",
        "CRYOBRIDGE_DEVICES",
        "CRYOBRIDGE_EFFORT",
        "CRYOBRIDGE_GPU_MODE",
        "CRYOBRIDGE_IDLE_EXIT_S",
        "CRYOBRIDGE_INBOX",
        "CRYOBRIDGE_JOBS_ONLY",
        "CRYOBRIDGE_KEEP_ALIVE_S",
        "CRYOBRIDGE_KEEP_VOLUMES",
        "CRYOBRIDGE_LANDLORD",
        "CRYOBRIDGE_LENDING__GIVE_WAY_S",
        "CRYOBRIDGE_LENDING__MOST_ASIDE",
        "CRYOBRIDGE_LENDING__TURN_S",
        "CRYOBRIDGE_LIMITS__CALLS",
        "CRYOBRIDGE_LIMITS__CONNECTIONS",
        "CRYOBRIDGE_LIMITS__FINISHED_JOBS_KEPT",
        "CRYOBRIDGE_LIMITS__JOBS",
        "CRYOBRIDGE_LOG_LEVEL",
        "CRYOBRIDGE_LOSS",
        "CRYOBRIDGE_METRICS_FILE",
        "CRYOBRIDGE_MODE",
        "CRYOBRIDGE_OPERATORS",
        "CRYOBRIDGE_PARTNER_WAIT_S",
        "CRYOBRIDGE_PRESET",
        "CRYOBRIDGE_SEED",
        "CRYOBRIDGE_SILENCE_S",
        "CRYOBRIDGE_SLURM__ACCOUNTING",
        "CRYOBRIDGE_SLURM__CANCEL",
        "CRYOBRIDGE_SLURM__COMMAND_S",
        "CRYOBRIDGE_SLURM__DEFAULTS__ACCOUNT",
        "CRYOBRIDGE_SLURM__DEFAULTS__CPUS",
        "CRYOBRIDGE_SLURM__DEFAULTS__EXTRA",
        "CRYOBRIDGE_SLURM__DEFAULTS__GPUS",
        "CRYOBRIDGE_SLURM__DEFAULTS__MEMORY_GB",
        "CRYOBRIDGE_SLURM__DEFAULTS__PARTITION",
        "CRYOBRIDGE_SLURM__DEFAULTS__TIME_H",
        "CRYOBRIDGE_SLURM__ENVIRONMENT",
        "CRYOBRIDGE_SLURM__FOLDER",
        "CRYOBRIDGE_SLURM__POLL_S",
        "CRYOBRIDGE_SLURM__QUEUE",
        "CRYOBRIDGE_SLURM__SUBMIT",
        "CRYOBRIDGE_SLURM__TEMPLATE",
        "CRYOBRIDGE_SOCKET",
        "CRYOBRIDGE_SOCKET_MODE",
        "CRYOBRIDGE_SPAWN",
        "CRYOBRIDGE_START",
        "CRYOBRIDGE_START_ITERATION",
        "CRYOBRIDGE_STATE_DIR",
        "CRYOBRIDGE_STEPS",
        "CRYOBRIDGE_STRICT",
        "CRYOBRIDGE_STYLE",
        "CRYOBRIDGE_WARM_STEPS",
        "CRYOBRIDGE_WATCH_ROOTS",
        "CRYOBRIDGE_WEIGHT",
        "ISONET_3DFSD",
        "ISONET_ACC_BATCHES",
        "ISONET_ALPHA",
        "ISONET_ANGULAR_WHITEN",
        "ISONET_BETA",
        "ISONET_EPOCHS",
        "ISONET_FSC_05",
        "ISONET_FSC_WEIGHTING",
        "ISONET_KEEP_LOWRES",
        "ISONET_LOWPASS",
        "ISONET_RETRAIN_EACH_ITER",
        "ISONET_START_HEALPIX",
        "ISONET_START_RESOLUTION",
        "ISONET_WHITENING",
        "ISONET_WHITENING_LOW",
    }
)
"""Every variable of `schemas.variables`, which costs too much time to import here; a test keeps the two alike."""
_PREFIXES = ("CRYOBRIDGE_", "ISONET_")
_MOST_NAMED = 3
_LONGEST_NAME = 64
_NEAR = 0.8
_VERY_NEAR = 0.9


def misspelt(environment: Mapping[str, str]) -> str | None:
    """One sentence on the variables that mean nothing to any of our programs; None when there are none."""
    unknown = [name for name in sorted(environment) if environment[name] and name not in KNOWN and _looks_ours(name)]
    if not unknown:
        return None
    # Imported here only: nearly all environments have none.
    import difflib

    parts = []
    for name in unknown:
        ours = name.startswith(_PREFIXES)
        near = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=_NEAR if ours else _VERY_NEAR)
        if near or ours:
            hint = f"; did you mean {near[0]}?" if near else ""
            parts.append(f"{name[:_LONGEST_NAME]} is no variable of cryobridge and is ignored{hint}")
    more = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f", and {more} more" if more > 0 else "") if parts else None


def _looks_ours(name: str) -> bool:
    """A first look that costs nothing: our prefix, or what could be a slip of it."""
    upper = name.upper()
    return upper.startswith(_PREFIXES) or (upper[:2] in {"CR", "CY", "IS"} and ("BR" in upper or "NET_" in upper))
