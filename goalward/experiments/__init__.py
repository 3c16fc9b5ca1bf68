"""What is done with runs: the quickstart, studies, and their figures."""
