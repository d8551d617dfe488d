"""A job of ours as an External job of RELION's pipeline: its words, its files, its nodes. Starts nothing."""
