"""Signal processing: Fourier transform, local power of bands, Fourier shell correlation, interpolation."""
