"""Train the networks on simulated maps of known local resolution."""
