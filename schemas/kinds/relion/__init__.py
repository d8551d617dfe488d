"""What the daemon books of RELION's own calls."""
