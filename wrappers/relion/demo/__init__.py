"""A small refinement with a known truth, simulated by code: what the demo shows and the acceptance tests run."""
