"""The probe guest under Bochs: its CD, and its report, made once for all tests of a worker."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from klosdbg.images import PROBE
from klosdbg.x86.enforcement import ProbeReport, decode_probe_report
from tests import bochs
from tests.build import make


@functools.cache
def probe_iso() -> Path:
    """Build a CD that boots the probe guest."""
    make(PROBE.parents[1])
    directory = Path(tempfile.mkdtemp(prefix="probe-iso-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return bochs.build_iso(PROBE, directory)


@functools.cache
def report_of_bochs() -> ProbeReport:
    """Run the probe guest to its end."""
    return decode_probe_report(bochs.run(probe_iso()))
