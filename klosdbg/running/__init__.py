"""The guest runs for a session: until it stops, to a place, while events are recorded."""
