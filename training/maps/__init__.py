"""Training maps: atomic structures, simulator, processing, truth, labels from half maps."""
