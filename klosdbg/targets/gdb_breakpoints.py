"""Run inside gdb by ``gdb_loop``: record KLOS's events as a user of gdb's Python would.

A line of standard input says how many stops to make; the answer is the seconds that they took.
"""

import json
import os
import struct
import sys
import time

import gdb

_FRAME_SIZE = 100
_EVENT = struct.Struct("<4I")
"""Vector, error code, EIP and CS, in the frame that the event core saves."""
_EVENT_AT = 72

recorded: list[object] = []
wanted = 0


class ReadingBreakpoint(gdb.Breakpoint):  # type: ignore[misc]
    """A place to stop at, and what memory to read there; the frame is the end of the first."""

    def __init__(self, address: int, reads: list[tuple[int, int]]) -> None:
        super().__init__(f"*{address:#x}")
        self.silent = True
        self._reads = reads

    def stop(self) -> bool:
        """Record, and go on until there are enough."""
        memory = gdb.selected_inferior()
        frame, *others = [memory.read_memory(*read).tobytes() for read in self._reads]
        event = _EVENT.unpack_from(frame, len(frame) - _FRAME_SIZE + _EVENT_AT)
        recorded.append((int(gdb.parse_and_eval("$pc")), event, others))
        return len(recorded) >= wanted


gdb.execute("set confirm off")
gdb.execute("set pagination off")
gdb.execute("set architecture i386")
gdb.execute(f"target remote {os.environ['KLOSDBG_STUB']}")
for place, reads in json.loads(os.environ["KLOSDBG_PLACES"]).items():
    ReadingBreakpoint(int(place), [(at, size) for at, size in reads])
for line in sys.stdin:
    recorded.clear()
    wanted = int(line)
    began = time.perf_counter()
    gdb.execute("continue", to_string=True)
    print(f"took {time.perf_counter() - began}", flush=True)
gdb.execute("kill")
