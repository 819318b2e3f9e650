"""Two local resolutions compared: `cryores-lite-compare A B`."""
