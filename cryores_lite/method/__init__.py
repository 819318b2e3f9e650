"""From a density to its local resolution: prepare, predict, assemble."""
