"""RELION's calls in the daemon: paired to iterations, followed as refinements, booked."""
