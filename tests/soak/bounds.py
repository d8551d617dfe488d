"""What counts as in time, as flat, and as much: every number that an invariant goes by."""

from __future__ import annotations

HEALTH_S = 10.0
"""An answer to `status`, while nobody keeps the daemon from it: well before a hook takes it for dead (15 s), on two
cores that others use as well."""
CALL_S = 90.0
"""One call of RELION: silence (15 s), the partner's time and a fallback after each other, on busy cores."""
QUEUED_S = 240.0
"""The same behind calls of other refinements: a dozen at once, each of seconds, on cores that others use as well."""
JOB_S = 240.0
"""A small job, from the last disturbance or from the end of a job before it, whichever is later: a worker that was
killed often starts again after up to a minute."""
RESTART_S = 15.0
"""From a daemon's end until its next one answers."""

MOST_MB = {"daemon": 400.0, "worker": 2500.0}
MOST_DESCRIPTORS = {"daemon": 1500, "worker": 600}
MB_PER_MINUTE = {"daemon": 2.0, "worker": 5.0}
DESCRIPTORS_PER_MINUTE = {"daemon": 2.0, "worker": 2.0}
WARMING_S = {"daemon": 90.0, "worker": 240.0}
"""A process grows at first, until it has done every kind of work once; it is followed from then on."""
THIRD_S = 40.0
"""A life is followed if a third of it is so long, or longer; what deeds open is mostly closed again within it."""
FOLLOWED_S = 240.0
"""So much life of processes of a role together, before a slope is judged."""
