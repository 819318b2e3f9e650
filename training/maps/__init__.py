"""Training maps: atomic structures, simulator, noise, processing, truth, labels from half maps."""
