"""Adapters: the only place for sockets and processes."""
