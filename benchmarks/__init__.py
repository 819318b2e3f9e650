"""Measure the time and the memory of the command."""
