"""Environments that others wrote, by Gymnasium's interface; NumPy alone, so that their processes are small."""
