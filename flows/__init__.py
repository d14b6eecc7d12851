"""Prefect flows and the command line: they decide the order of work and compute nothing."""
