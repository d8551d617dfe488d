"""What several folders of tests use: a small simulated refinement that calls the real hook."""
