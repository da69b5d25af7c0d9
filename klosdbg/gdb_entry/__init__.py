"""The second root, loaded inside gdb: every command as ``klos CMD``, and what gdb itself shows."""

import sys


def load() -> None:
    """Load klosdbg into this gdb; where gdb's Python is too old, say so in its place."""
    # gdb has the Python that it was built with, whatever klosdbg was installed with.
    if sys.version_info < (3, 11):  # noqa: UP036
        import gdb

        has = "%d.%d" % sys.version_info[:2]  # noqa: UP031
        gdb.write("klosdbg: this gdb has Python %s, 3.11 is needed\n" % has, gdb.STDERR)  # noqa: UP031
        return
    from klosdbg.gdb_entry import commands, event_stop, functions, printers, stop_line

    commands.register()
    functions.register()
    event_stop.register()
    stop_line.register()
    printers.register()
