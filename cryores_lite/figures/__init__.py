"""Pictures and pages of a result: slices, surface, charts, HTML page."""
