"""klosdbg's own speed, as ratios within one run."""
