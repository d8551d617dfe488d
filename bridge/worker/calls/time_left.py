"""How long a training still takes, in words for RELION's log."""

from __future__ import annotations


def time_left(done: int, total: int, elapsed_s: float) -> str:
    """Words such as ", about 40 s left", from steps done and their seconds; empty where there is nothing to say.

    The steps to come are taken to last as long as those done did on average.
    """
    if not 0 < done < total:
        return ""
    left_s = elapsed_s / done * (total - done)
    if left_s < 1.0:
        return ""
    if left_s < 90.0:
        return f", about {left_s:.0f} s left"
    return f", about {left_s / 60:.0f} min left" if left_s < 5400.0 else f", about {left_s / 3600:.1f} h left"
