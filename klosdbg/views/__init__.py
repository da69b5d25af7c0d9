"""Model to output. Importing this package registers the views of every family."""

from klosdbg.views import address as address
from klosdbg.views import bench as bench
from klosdbg.views import capture as capture
from klosdbg.views import control as control
from klosdbg.views import cpu as cpu
from klosdbg.views import decode as decode
from klosdbg.views import descriptors as descriptors
from klosdbg.views import doctor as doctor
from klosdbg.views import dsos as dsos
from klosdbg.views import events as events
from klosdbg.views import findings as findings
from klosdbg.views import gadgets as gadgets
from klosdbg.views import guesses as guesses
from klosdbg.views import klos as klos
from klosdbg.views import klos_lists as klos_lists
from klosdbg.views import klos_runs as klos_runs
from klosdbg.views import relocations as relocations
from klosdbg.views import session as session
from klosdbg.views import silicon as silicon
from klosdbg.views import tables as tables
from klosdbg.views import tasks as tasks
from klosdbg.views import tss as tss
from klosdbg.views import watch as watch
from klosdbg.views.base import Style, columns, data, text

__all__ = ["Style", "columns", "data", "text"]
