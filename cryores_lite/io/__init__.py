"""Files: MRC maps and their headers, checks of the input, publishing of all outputs or none."""
