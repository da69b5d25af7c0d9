"""What KLOS means: its description of itself, DSOS, and what its memory holds."""
