"""Devices of this machine lent to users' own daemons: whose turn it is, who has one, and the other side of it."""
