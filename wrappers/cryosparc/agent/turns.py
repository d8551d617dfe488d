"""Whose turn it is: few cards use the daemon at a time, and fifty cards of one project do not stop another's."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..documents import CardId

SLICE_S = 2.0


class Turns:
    """A line of cards.

    Parameters
    ----------
    at_once
        So many have a turn at the same time; two keep a device busy while the results of one are sent.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._lines: dict[str, deque[CardId]] = {}
        self._served: Counter[str] = Counter()
        self._turns = 0
        self._changed = threading.Condition()

    @contextmanager
    def __call__(self, card: CardId, waiting: Callable[[int], None], resumed: bool = False) -> Iterator[None]:
        """Wait for a turn, and have it.

        Parameters
        ----------
        waiting
            Called now and then with the place in the line, from 1 on; what it raises ends the wait.
        resumed
            Whether the daemon has its job already, from before this process: it has its turn at once.
        """
        if resumed:
            with self._changed:
                self._running += 1
        else:
            self._wait(card, waiting)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _wait(self, card: CardId, waiting: Callable[[int], None]) -> None:
        with self._changed:
            self._lines.setdefault(card.project, deque()).append(card)
        try:
            while True:
                with self._changed:
                    place = self._order().index(card) + 1
                    if self._running < self._at_once and place == 1:
                        self._running += 1
                        self._leave(card)
                        self._turns += 1
                        self._served[card.project] = self._turns
                        self._changed.notify_all()
                        return
                waiting(place)
                with self._changed:
                    self._changed.wait(SLICE_S)
        except BaseException:
            with self._changed:
                self._leave(card)
                self._changed.notify_all()
            raise

    def _order(self) -> list[CardId]:
        """Who comes next: one of each project, whose last turn is the longest ago first; then the second of each."""
        lines = [list(self._lines[project]) for project in sorted(self._lines, key=self._served.__getitem__)]
        longest = max(map(len, lines), default=0)
        return [line[place] for place in range(longest) for line in lines if place < len(line)]

    def _leave(self, card: CardId) -> None:
        line = self._lines.get(card.project)
        if line is not None and card in line:
            line.remove(card)
            if not line:
                del self._lines[card.project]
