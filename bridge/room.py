"""Room for many users: one may have half of it, and those with few find some even when all is taken."""

from __future__ import annotations

from cryobridge.schemas.bounds import KEPT_SHARE


def largest_share(most: int) -> int:
    """What one user may have at most of `most` places."""
    return max(2, most // 2)


def share(most: int, others: int) -> int:
    """How many of `most` places a user may have while others have `others`.

    A last part is kept for users with few. They find these few even when it is used up: the number of all then grows by
    as many for each further user.
    """
    largest = largest_share(most)
    # Two at least: both halves of an iteration call at once.
    few = max(2, int(largest * KEPT_SHARE))
    for_many = most - max(2, int(most * KEPT_SHARE))
    return max(few, min(largest, for_many - others))
