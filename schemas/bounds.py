"""How much is taken from others, in one place: job files, names in the inbox, and what clients of the socket send.

Each bound lies far above what an honest sender needs and far below what would hold up the service. Standard library
only: the hook loads the wire, and the wire loads this. `docs/bounds.md` lists them; a test compares.
"""

from __future__ import annotations

from typing import Final

MAX_JOB_FILE_BYTES: Final = 256 * 1024
"""A job file is a few lines; the largest list of files that a job may hold fits."""
MAX_VALUES: Final = 20_000
"""Values of one job, keys counted. YAML costs 60 microseconds each, and a job may name 16,384 paths."""
MAX_KEYS: Final = 256
"""Keys of one table in a job: several times what any kind has; pydantic writes a report about each unknown one."""
MAX_DEPTH: Final = 32
"""Levels of a job. Options have three."""
MAX_NUMBER_CHARACTERS: Final = 64
"""Numbers to the base of 60 take time that grows with the square of their length, and no option needs one so long."""
MAX_SENTENCE_CHARACTERS: Final = 500
"""Of what is said about a foreign file, whatever stands in it."""

MAX_CHECKPOINT_BYTES: Final = 8 * 1024**3
"""Maps and networks of a job at the largest box."""
MAX_CHECKPOINT_TABLE_BYTES: Final = 16 * 1024 * 1024
"""Names and places of its tensors, and its note; of a file that is none of this job's no more is read."""
MAX_NETWORK_BYTES: Final = 1024**3
"""What the networks of one file have learned; the largest has a third of it."""

MAX_CLIENT_FRAME_BYTES: Final = 4 * 1024 * 1024
"""One message of a client of the daemon. A job with 16,384 long paths has 2 MB."""
MAX_CLIENT_FRAME_VALUES: Final = 100_000
"""Values of one message, counted by its commas before it is read."""
CLIENT_FRAME_LIMIT_S: Final = 15.0
"""From the first byte of a client's message to its last, of the time in which the daemon could have read it."""
MAX_UNCLAIMED_FDS: Final = 64
"""Descriptors of one connection for a message that is not whole: as many as one message may carry."""
MAX_UNCLAIMED_FDS_PER_USER: Final = 256
"""Of all connections of a user, for messages that are not whole or not looked at yet. A hook's hardly ever wait."""
MAX_PARTIAL_BYTES_PER_USER: Final = 16 * 1024 * 1024
"""Messages that are not whole or not looked at yet, of all connections of a user together."""
SMALL_PARTIAL_BYTES: Final = 64 * 1024
"""A connection that holds no more than this is not cut off for what others of its user hold."""
FRAMES_PER_TURN: Final = 16
"""Messages of one connection that are answered before the others have their turn."""
TURN_S: Final = 0.01
"""A turn begins no other message after this time: some take a thousand times as long to answer as others."""
MAX_WAITS: Final = 8
"""Jobs whose ends one connection waits for at once."""
MAX_FOLLOWERS_PER_USER: Final = 8
"""Connections of one user that follow what happens: a few screens and pages."""
MAX_UNTAKEN_NEWS_BYTES: Final = 12 * 1024
"""A follower that has more to take loses what happens next, and is told how things are once it has taken all."""
MAX_UNTAKEN_BYTES: Final = 1024 * 1024
"""Answers that a client has not taken yet; while there are more, its next messages wait in its socket."""
MAX_UNTAKEN_BYTES_PER_USER: Final = 64 * 1024 * 1024
"""Answers that all connections of a user have not taken yet; the one that asks for more is cut off."""
SMALL_UNTAKEN_BYTES: Final = 16 * 1024
"""A client that has no more than this to take may take its time: a stopped program that is told that we live."""
UNTAKEN_LIMIT_S: Final = 60.0
"""A client with more to take is cut off when it takes no whole answer for so long."""
ACCEPTS_PER_TURN: Final = 16
"""New connections that are taken before those that are there have their turn."""
HOOKS_SHARE: Final = 0.25
"""Part of a user's connections that only RELION's hooks get."""
GREETING_S: Final = 1.0
"""A connection that has not said what it is for so long is the first to give way where its user may have no more."""
CALL_S: Final = 10.0
"""A hook that waits for nothing from us for so long is the next; one makes its call within a blink of its greeting."""
KEPT_SHARE: Final = 0.125
"""Part of all connections that is kept for users with few: no more than this part of what one user may have at most."""
MAX_PROGRAMS_PER_USER: Final = 64
"""Refinements of a user whose RELION the daemon holds by a descriptor, to learn of its end; of more it learns less."""
