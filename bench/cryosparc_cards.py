"""Many cards of CryoSPARC on one agent: who waits how long, and how often the server is asked.

    python bench/cryosparc_cards.py --standin FOLDER [--cards 30 15 5] [--takes 2] [--poll 10] [--at-once 2]

FOLDER holds `standin.py`, a loopback server that the client from PyPI speaks to. The cards get their go signs all at
once, those of the first project first; the daemon has one device that is busy for --takes seconds with each, and gives
back a real result that was computed before. A wait is the time from the first go sign to the device; beside it stands
what it would be first come, first served. Calls are counted by the server for a minute in which all cards stand still,
and then while they are worked on; those that the agent looks with do not depend on the number of cards.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.agent_desk import AgentDesk, at_work
from support.cryosparc import Standin

from cryobridge.wrappers.cryosparc.documents import CardId

LOOKS = ("jobs.find", "tags.find", "sessions.find")
IDLE_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--standin", type=Path, required=True)
    parser.add_argument("--cards", type=int, nargs="+", default=[30, 15, 5])
    parser.add_argument("--takes", type=float, default=2.0)
    parser.add_argument("--poll", type=float, default=10.0)
    parser.add_argument("--at-once", type=int, default=2)
    args = parser.parse_args()
    logging.getLogger("cryobridge").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        standin = Standin(args.standin.resolve().parent, Path(folder) / "server", projects=len(args.cards))
        try:
            _measure(args, AgentDesk(standin, Path(folder)))
        finally:
            standin.close()


def _measure(args: argparse.Namespace, desk: AgentDesk) -> None:
    projects = tuple(f"P{number}" for number in range(1, len(args.cards) + 1))
    first = desk.card(go=True)
    with at_work(desk.agent(projects)):
        # The one result that the others copy; nobody waits for it.
        desk.until(first, "completed", 120)
    cards = [desk.card(project) for project, count in zip(projects, args.cards, strict=True) for _ in range(count)]
    desk.daemon.takes_s = args.takes
    with at_work(desk.agent(projects, poll_s=args.poll, at_once=args.at_once)):
        time.sleep(args.poll / 2)
        desk.calls()
        time.sleep(IDLE_S)
        idle = desk.calls()
        tag = desk.user.make_tag("cryobridge-bench")
        desk.standin.state.tags[tag].title = "cryobridge"
        told = time.monotonic()
        for card in cards:
            desk.user.tag(card)
        desk.calls()
        begun = time.monotonic()
        for card in cards:
            desk.until(card, "completed", 60 + 10 * args.takes * len(cards))
        seconds = time.monotonic() - begun
    _waits(desk, cards, told, args.takes)
    _calls(idle, desk.calls(), seconds, args.poll)


def _waits(desk: AgentDesk, cards: list[CardId], told: float, takes_s: float) -> None:
    """Print a line for each project: when its cards came to the device."""
    at = {_card(desk, name): when - told for name, when in desk.daemon.began.items()}
    start = min(at[card] for card in cards)
    print(f"{'project':8} {'cards':>5} {'median s':>9} {'worst s':>8}   first come, first served: median, worst")
    for project in sorted({card.project for card in cards}):
        mine = [at[card] for card in cards if card.project == project]
        line = [start + place * takes_s for place, card in enumerate(cards) if card.project == project]
        print(
            f"{project:8} {len(mine):5d} {statistics.median(mine):9.1f} {max(mine):8.1f}"
            f"   {statistics.median(line):.1f}, {max(line):.1f}"
        )
    print(
        f"device busy for {takes_s * len(cards):.0f} s; last card begun after {max(at[card] for card in cards):.0f} s"
    )


def _card(desk: AgentDesk, request: str) -> CardId:
    _, project, job, _ = request.split("-")
    return CardId(project, job)


def _calls(idle: Counter[str], busy: Counter[str], seconds: float, poll_s: float) -> None:
    """Print calls a minute by operation."""
    print(f"\n{'calls to the server a minute':34} {'idle':>6} {'at work':>8}")
    for operation in sorted({*idle, *busy}, key=lambda one: (one not in LOOKS, one)):
        print(f"{operation:34} {idle[operation] * 60 / IDLE_S:6.1f} {busy[operation] * 60 / seconds:8.1f}")
    looks = sum(busy[one] for one in LOOKS) * 60 / seconds
    print(f"{'all':34} {sum(idle.values()) * 60 / IDLE_S:6.1f} {sum(busy.values()) * 60 / seconds:8.1f}")
    print(f"{'of them to look':34} {sum(idle.values()) * 60 / IDLE_S:6.1f} {looks:8.1f}")
    print(f"looks every {poll_s:g} s: {60 / poll_s:g} a minute; at most three calls each")


if __name__ == "__main__":
    main()
