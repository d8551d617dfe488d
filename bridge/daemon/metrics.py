"""The daemon's figures for Prometheus, fed by what happens (`news`).

No user, path or message is in them, and every label has a bounded set of values: a code or kind of a newer program
counts as "other". So anybody may read them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from cryobridge.schemas.codes import Code
from cryobridge.schemas.news import NewsTable, What

from .news import Change, News

OTHER = "other"
NONE = "none"
_OUTCOMES = {
    What.CALL_CORRECTED: "corrected",
    What.CALL_STANDARD: "standard",
    What.CALL_FALLBACK: "fallback",
}
_CALL_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_QUEUE_BUCKETS_S = (0.1, 1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400)
_JOB_BUCKETS_S = (1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 259_200)


class Metrics:
    """All figures of one daemon, in a registry of their own.

    Parameters
    ----------
    news
        Where things are told.
    kinds
        Kinds of jobs that there are.
    version
        Of the program.
    """

    def __init__(self, news: News, kinds: Collection[str], version: str) -> None:
        # Process-wide in the library; a series per counter that says when it began is of no use to anybody here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._news = news
        self._kinds = frozenset(kinds)
        self.registry = CollectorRegistry()
        self._jobs = self._counter("jobs", "Jobs that have ended, by how", "kind", "state", "reason")
        self._job_s = self._times("job", "From a job's start to its end", _JOB_BUCKETS_S, "kind")
        self._queue_s = self._times("queue", "From submission to the first start", _QUEUE_BUCKETS_S, "priority")
        self._queue = self._gauge("queue_length", "Jobs that wait", "priority")
        self._calls = self._counter("calls", "Iterations that were answered, by how", "outcome", "reason")
        self._call_s = self._times("call", "From an iteration's first call to its answer", _CALL_BUCKETS_S, "outcome")
        self._open_calls = self._gauge("open_calls", "Calls of RELION that wait for an answer")
        self._fallbacks = self._counter("fallback", "Iterations without the correction that was wanted", "reason")
        self._restarts = self._counter("worker_restarts", "Workers that ended and were not meant to", "device")
        self._memory = self._gauge(
            "device_memory_bytes", "Total and free of a GPU, and what the worker has of the host's", "device", "role"
        )
        self._sessions = self._gauge("session_count", "Refinements that are kept warm")
        self._ready = self._gauge("ready", "1 while it takes calls")
        self._degraded = self._gauge("degraded", "1 while something is wrong that it works around")
        self._gauge("up", "1 while the daemon runs").set(1)
        self._gauge("build_info", "Always 1; the version is in the label", "version").labels(version).set(1)
        for code in Code:
            # There from the start, for an increase of what was not there before is none to Prometheus.
            if code.is_failure:
                self._fallbacks.labels(code.value)
        news.watch(self._take)

    def text(self) -> str:
        """All figures as they are now, in Prometheus' text format."""
        rows = self._news.rows
        health = rows(NewsTable.HEALTH).get("health", {})
        self._ready.set(bool(health.get("ready")))
        self._degraded.set(bool(health.get("degraded")))
        self._sessions.set(len(rows(NewsTable.REFINEMENTS)))
        self._open_calls.set(rows(NewsTable.COUNTS).get("open", {}).get("calls", 0))
        for priority, count in rows(NewsTable.COUNTS).get("queue", {}).items():
            self._queue.labels(priority).set(count)
        for worker in rows(NewsTable.WORKERS).values():
            roles = {"total": "device_total_bytes", "free": "device_free_bytes", "worker": "rss_bytes"}
            for role, key in roles.items():
                if worker[key] is not None:
                    self._memory.labels(worker["device"], role).set(worker[key])
        return generate_latest(self.registry).decode()

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"cryobridge_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"cryobridge_{name}", what, labels, registry=self.registry)

    def _times(self, name: str, what: str, buckets_s: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"cryobridge_{name}_seconds", what, labels, buckets=buckets_s, registry=self.registry)

    def _take(self, change: Change) -> None:
        row = change.row
        if change.what is What.JOB_ENDED:
            kind = row["kind"] if row["kind"] in self._kinds else OTHER
            self._jobs.labels(kind, row["state"], _reason(row["reason"])).inc()
            if row["started_at"] is not None and row["finished_at"] is not None:
                self._job_s.labels(kind).observe(max(0.0, row["finished_at"] - row["started_at"]))
        elif change.what is What.JOB_STARTED and row["attempts"] == 1:
            self._queue_s.labels(row["priority"]).observe(max(0.0, row["started_at"] - row["created_at"]))
        elif change.table is NewsTable.CALLS and change.what in _OUTCOMES:
            outcome = _OUTCOMES[change.what]
            self._calls.labels(outcome, _reason(row["code"])).inc()
            self._call_s.labels(outcome).observe(row["seconds"])
            if change.what is What.CALL_FALLBACK:
                self._fallbacks.labels(_reason(row["code"])).inc()
        elif change.table is NewsTable.WORKERS:
            restarts = self._restarts.labels(row["device"])
            if change.what is What.WORKER_ENDED and row["state"] == "failed":
                restarts.inc()


def _reason(code: str | None) -> str:
    """A code as a label."""
    if not code:
        return NONE
    return str(code) if code in list(Code) else OTHER
