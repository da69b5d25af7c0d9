"""The GDB-remote server: one thread, many clients."""
