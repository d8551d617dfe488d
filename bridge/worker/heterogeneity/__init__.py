"""What the kinds of jobs on heterogeneity have in common: images on the device, finished runs, what is written."""
