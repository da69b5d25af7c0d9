"""The report of a capture: one HTML page without scripts, which loads nothing."""
