"""Where the runs of a sweep run: a process here, a task of Ray, a job of Slurm."""
