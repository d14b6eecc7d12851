"""Measurements: speeds as ratios within one run."""
