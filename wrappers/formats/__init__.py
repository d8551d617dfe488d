"""File formats: MRC and STAR, read with suspicion and written whole."""
