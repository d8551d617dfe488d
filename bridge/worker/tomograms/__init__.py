"""What kinds of jobs on a table of tomograms share: rows one after the other, resumed and told of."""
