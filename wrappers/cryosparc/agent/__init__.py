"""The agent: looks for cards that may begin, and brings each to its end."""
