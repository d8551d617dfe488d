"""What varies between images, as a linear subspace of volumes: found, tested, and used to encode images."""
