"""The commands by subject: the daemon, jobs, checks."""
