"""The output files of a map: the catalogue of their kinds, their contents, and writing them."""
