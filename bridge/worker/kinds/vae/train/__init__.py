"""`vae.train`: what varies between particles, by the fast method or the published one."""
