"""The latents of many particles, looked at: components, clusters, paths, states."""
