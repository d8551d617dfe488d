"""A job of ours as a job of the type "External" of RELION's pipeline: its words, its files, its nodes. Starts nothing."""
