"""Watches folders: refinements under configured roots, and an inbox for job files.

The truth is a rescan every few seconds, because file events do not cross network file systems; events (watchdog)
only make the next rescan come sooner. Runs as a thread of the daemon: no torch here, nothing that waits for work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from cryobridge.wrappers.relion.run_folder import EXIT_MARKERS, RunFolder, inside, optimisers, read_refinement

from .folder_tree import FolderTree
from .inbox import Inbox

log = logging.getLogger(__name__)

RESCAN_S = 3.0
HINT_PAUSE_S = 0.3
"""Events come in bursts; a rescan comes this long after the first of one."""
MODEL_WAIT_S = 15.0
"""RELION writes an iteration's model files after its optimiser file."""
STALE_AFTER_S = 3 * 86400.0
"""A refinement that has written nothing for so long is taken for dead: iterations of 34 h have been seen."""


class Announcements(Protocol):
    """What the watcher tells the daemon, and asks of it. Called from the watcher's thread; must not block for long."""

    def prepare(self, refinement: Mapping[str, Any]) -> None:
        """A refinement with `--external_reconstruct` runs; fields of `RunFolder.as_message`."""

    def progress(self, session: str, iteration: int) -> None:
        """A watched refinement has finished an iteration."""

    def release(self, session: str, reason: str) -> None:
        """A watched refinement has ended (`succeeded`, `failed`, `aborted`) or is gone (`removed`, `stale`)."""

    def submit(self, spec: Mapping[str, Any]) -> str:
        """Store a checked job durably; return its id. Raises a `CryobridgeError` if that cannot be now."""

    def find(self, request_id: str) -> str | None:
        """The id of the job that was submitted with this `run.request_id`, in any state; None if there is none."""

    def state(self, job_id: str) -> Mapping[str, Any] | None:
        """`{state, reason, text}` of a job; None if the daemon does not know it."""


@dataclass
class _Followed:
    """What is known of one output root."""

    iteration: int
    announced: bool = False
    ended: str | None = None


class RefinementWatcher:
    """Notices refinements under the roots, follows them, and notices their end.

    Parameters
    ----------
    roots
        Folders to search, at any depth up to a limit.
    announcements
        Who is told.
    clock
        Seconds since 1970, as file times are.
    """

    def __init__(
        self, roots: Sequence[Path], announcements: Announcements, clock: Callable[[], float] = time.time
    ) -> None:
        self._roots = [root.resolve() for root in roots]
        self._tree = FolderTree(self._roots, clock)
        self._announcements = announcements
        self._clock = clock
        self._followed: dict[tuple[Path, str], _Followed] = {}

    def rescan(self) -> None:
        """Look at everything once and announce what has changed."""
        seen: set[tuple[Path, str]] = set()
        for folder, names in self._tree.folders():
            for root, iteration in optimisers(names).items():
                seen.add((folder, root))
                self._look(folder, root, iteration, names)
        for folder, root in self._followed.keys() - seen:
            followed = self._followed.pop((folder, root))
            if followed.announced and followed.ended is None:
                self._announcements.release(f"{folder}/{root}", "removed")

    def active(self) -> list[Path]:
        """The folders of refinements that run, for events."""
        return [folder for (folder, _), followed in self._followed.items() if followed.announced and not followed.ended]

    def _look(self, folder: Path, root: str, iteration: int, names: frozenset[str]) -> None:
        followed = self._followed.setdefault((folder, root), _Followed(iteration=-1))
        end = self._end(folder, root, iteration, names)
        if end is not None:
            if followed.announced and followed.ended is None:
                log.info("refinement %s/%s: %s at iteration %d", folder, root, end, iteration)
                self._announcements.release(f"{folder}/{root}", end)
            followed.ended, followed.announced, followed.iteration = end, False, iteration
            return
        followed.ended = None
        if iteration == followed.iteration:
            return
        refinement = read_refinement(folder, root, iteration)
        if refinement is None or (refinement.box is None and self._is_fresh(folder, root, iteration)):
            return  # not whole yet, or its model file is still to come: the next rescan sees it
        followed.iteration = iteration
        self._follow(followed, refinement)

    def _follow(self, followed: _Followed, refinement: RunFolder) -> None:
        wanted = refinement.external and not refinement.blush
        if wanted and not followed.announced:
            log.info("refinement %s: noticed at iteration %d", refinement.session, refinement.iteration)
            message = refinement.as_message()
            if refinement.mask and not inside(refinement.mask, self._roots):
                message["mask"] = None  # a file that the operator has not opened to the daemon
            followed.announced = True
            self._announcements.prepare(message)
        elif followed.announced and not wanted:
            followed.announced = False
            self._announcements.release(refinement.session, "continued without --external_reconstruct")
        elif followed.announced:
            self._announcements.progress(refinement.session, refinement.iteration)

    def _is_fresh(self, folder: Path, root: str, iteration: int) -> bool:
        """Whether an optimiser file is so new that RELION may still write those that follow it."""
        try:
            written = (folder / f"{root}_it{iteration:03d}_optimiser.star").stat().st_mtime
        except OSError:
            return True
        return self._clock() - written < MODEL_WAIT_S

    def _end(self, folder: Path, root: str, iteration: int, names: frozenset[str]) -> str | None:
        for marker, meaning in EXIT_MARKERS.items():
            if marker in names:
                return meaning
        try:
            last = (folder / f"{root}_it{iteration:03d}_optimiser.star").stat().st_mtime
            # A job that was continued keeps the final map of its first end; only one that is not older counts.
            if f"{root}_class001.mrc" in names and (folder / f"{root}_class001.mrc").stat().st_mtime >= last:
                return "succeeded"
        except OSError:
            return None  # changed while we looked
        return "stale" if self._clock() - last > STALE_AFTER_S else None


class WatchThread(threading.Thread):
    """Rescans until told to stop; events only hurry it.

    Parameters
    ----------
    announcements
        The daemon's side.
    roots
        Folders with refinements; may be empty.
    inbox
        Folder for job files, or None.
    """

    def __init__(
        self,
        announcements: Announcements,
        roots: Sequence[Path] = (),
        inbox: Path | None = None,
        rescan_s: float = RESCAN_S,
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._refinements = RefinementWatcher(roots, announcements) if roots else None
        self._inbox = Inbox(inbox, announcements) if inbox else None
        self._hints = _Hints([*roots, *([inbox] if inbox else [])])
        self._rescan_s = rescan_s
        self._stopping = threading.Event()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what it has not yet seen is seen at the next start."""
        self._stopping.set()
        self._hints.changed.set()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        """Rescan at once, then every few seconds or after an event."""
        self._hints.start()
        try:
            while not self._stopping.is_set():
                for watcher in (self._inbox, self._refinements):
                    try:
                        if watcher is not None:
                            watcher.rescan()
                    except Exception:
                        # Watching is a convenience: whatever a foreign folder does to it, the daemon goes on.
                        log.exception("watching failed; trying again in %.0f s", self._rescan_s)
                self._hints.follow(self._refinements.active() if self._refinements is not None else [])
                self._hints.changed.clear()
                if self._hints.changed.wait(self._rescan_s):
                    self._stopping.wait(HINT_PAUSE_S)
        finally:
            self._hints.stop()


class _Hints(FileSystemEventHandler):
    """File events of a few folders, not of the trees below them: those may hold millions of files."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.changed = threading.Event()
        self._fixed = [str(folder) for folder in folders]
        self._observer: BaseObserver | None = None
        self._watches: dict[str, Any] = {}

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note that something was made, renamed, removed or closed after writing."""
        if event.event_type in ("created", "moved", "closed", "deleted"):
            self.changed.set()

    def start(self) -> None:
        """Ask for events; a kernel gives each user so many listeners only, and each process so many descriptors."""
        try:
            observer = Observer()
            observer.start()
        except (OSError, RuntimeError) as error:
            log.warning("no file events (%s): folders are looked at every few seconds only", error)
            return
        self._observer = observer
        self.follow([])

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5.0)

    def follow(self, folders: Sequence[Path]) -> None:
        if self._observer is None:
            return
        wanted = {*self._fixed, *map(str, folders)}
        for folder in self._watches.keys() - wanted:
            self._observer.unschedule(self._watches.pop(folder))
        for folder in sorted(wanted - self._watches.keys()):
            try:
                self._watches[folder] = self._observer.schedule(self, folder, recursive=False)
            except (OSError, RuntimeError) as error:
                log.debug("no file events for %s: %s", folder, error)
