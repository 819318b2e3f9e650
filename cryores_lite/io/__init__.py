"""Files: MRC maps and their headers, checks of the input, atomic writing of the outputs."""
