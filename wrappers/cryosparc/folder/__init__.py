"""A job's folder read without a server, and results that can be imported."""
