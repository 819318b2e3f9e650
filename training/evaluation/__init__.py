"""Scores on maps of known local resolution, and the pages that report them."""
