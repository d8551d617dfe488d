"""A small simulated RELION project with particles in two states, to try the jobs on heterogeneity."""
