"""Comparison of a result with the Fourier shell correlation of two half maps."""
