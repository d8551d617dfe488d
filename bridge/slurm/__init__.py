"""Jobs on a cluster: handed to SLURM by a template, followed over a shared folder, found again by a new daemon."""
