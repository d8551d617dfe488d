"""One card: made, claimed, its inputs found, its job done, its results published."""
