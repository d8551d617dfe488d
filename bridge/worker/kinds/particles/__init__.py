"""What is done for each kind of job on tables of particles."""
