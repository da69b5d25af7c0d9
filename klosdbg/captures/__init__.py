"""What a session packs for somebody else: written, opened, compared, reported."""
