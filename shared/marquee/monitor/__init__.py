"""What looks after the system by the clock: a list of tasks, each of which may fail alone."""
