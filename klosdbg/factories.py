"""What makes the targets that commands ask for, on this machine; a part of the composition root."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from klosdbg import images
from klosdbg.errors import DataError, UsageError
from klosdbg.models import OwnImages
from klosdbg.ports import Target
from klosdbg.session import Debugger, Session
from klosdbg.wire.symbols import Image, SymbolTable
from klosdbg.x86.enforcement import ProbeResult

if TYPE_CHECKING:
    from klosdbg.bench.measure import Loop, TracedGuest


def load_symbols(wanted: Sequence[str]) -> SymbolTable:
    """Load the symbols of images, each an ``ELF`` or ``ELF@BASE``, or say why one cannot be."""
    return SymbolTable(tuple(map(_image, wanted)))


def _image(wanted: str) -> Image:
    path, _, base = wanted.rpartition("@") if "@" in wanted else (wanted, "", "0")
    try:
        address = int(base, 0)
    except ValueError:
        raise UsageError(f"--symbols {wanted}: {base!r} is not an address (ELF@0x100000)") from None
    try:
        return Image(Path(path).read_bytes(), path, address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot read the image {path}: {reason}: check its path") from None


class LocalFactories:
    """The session's ``Factories``: QEMU, gdb and our own image."""

    def probe(self, accel: str, qemu: str) -> ProbeResult:
        """Boot the probe guest under an accelerator and return what it found enforced."""
        from klosdbg.targets.probe import run_probe

        try:
            return run_probe(accel, qemu, images.found(images.PROBE))
        except DataError as error:
            return ProbeResult(accel, "cannot-start", str(error))

    def own_images(self) -> OwnImages:
        """Say where KLOS and the other images of our own are, and which builds they are."""
        places = (images.KLOS, images.PROBE, images.HOST_CYCLES)
        return OwnImages(
            images.IN_CHECKOUT, tuple((str(place), images.build_id(place)) for place in places)
        )

    def version(self, program: str, package: str) -> str | None:
        """Return a host program's version; None where it is missing, empty where unknown."""
        from klosdbg.targets.host import program_version

        return program_version(program, package)

    def find(self, program: str) -> str | None:
        """Return the path of a host program; None where it is missing."""
        return shutil.which(program)

    def system(self) -> str:
        """Name the host: distribution, kernel and architecture."""
        from klosdbg.targets.host import system_name

        return system_name()

    def host_cycles(self) -> dict[str, float]:
        """Time service calls on the host's own processor."""
        from klosdbg.targets.hostcycles import host_cycles

        return host_cycles(images.found(images.HOST_CYCLES))

    def debugger(self, session: Session) -> Debugger:
        """Make a gdb that is a client of the session's own server."""
        from klosdbg.server.listen import listen
        from klosdbg.server.server import Server
        from klosdbg.targets.gdb_mi import Gdb

        images = getattr(session.symbols, "images", ())
        return Gdb(lambda path: Server(session, listen(f"unix:{path}"), lambda _: None), images)

    def symbols(self) -> "SymbolTable":
        """Load the symbols of the image that ``guest`` boots."""
        return load_symbols([str(images.found(images.KLOS))])

    @contextmanager
    def guest(self, *, shared: bool, orders: str = "", counted: bool = False) -> Iterator[Target]:
        """Boot our own image; a machine that is named gets no RAM of ours."""
        from klosdbg.targets.own_guest import own_guest, run_to_ready
        from klosdbg.targets.qemu import start_qemu

        given = () if shared else ("-machine", "pc")
        options = own_guest(
            images.found(images.KLOS), orders, deterministic=counted, extra_args=given
        )
        with closing(start_qemu(options)) as target:
            run_to_ready(target, self.symbols())
            yield target

    @contextmanager
    def traced_guest(self, orders: str) -> "Iterator[TracedGuest]":
        """Boot our own image behind a connection that learns what a recorder sends."""
        from klosdbg.bench.measure import TracedGuest
        from klosdbg.targets.own_guest import own_guest, run_to_ready
        from klosdbg.targets.tapped import tapped_guest

        with tapped_guest(own_guest(images.found(images.KLOS), orders)) as (target, tap):
            symbols = self.symbols()
            run_to_ready(target, symbols)
            yield TracedGuest(target, symbols, tap.loop, lambda: tap.packets, tap.places)

    def gdb_loop(
        self, orders: str, places: Mapping[int, list[tuple[int, int]]]
    ) -> "AbstractContextManager[Loop]":
        """Boot our own image under gdb with its Python breakpoints."""
        from klosdbg.targets.gdb_loop import gdb_loop
        from klosdbg.targets.own_guest import own_guest

        return gdb_loop(own_guest(images.found(images.KLOS), orders), places)
