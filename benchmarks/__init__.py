"""Measurements of speed, each against a limit measured in the same run."""
