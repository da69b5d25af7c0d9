"""Images of KLOS without a name: stripped, without the magic, and known by a profile alone."""

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from klosdbg.klos.abi import KlosArray, KlosInfo
from klosdbg.klos.layout import members
from klosdbg.klos.profile import parse_profile
from klosdbg.klos.profile_memory import use_profile
from klosdbg.session import Session
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.wire.symbols import SymbolTable
from tests.live.driver import Driver
from tests.live.patience import PATIENCE

Document = dict[str, Any]
OFFSETS = {member.name: (member.offset, member.size) for member in members(KlosInfo)}
HELD = (
    "flags", "sequence", "csos", "dsapp", "dsos", "core_code", "core_data", "gate_selector",
    "fault_tss_selector", "commit_vector", "app_base", "app_top", "os_base", "physical_size",
    "os_text_start", "os_text_end", "core_text_start", "core_text_end", "return_gate",
    "event_depth", "current_thread", "current_pid", "mailbox", "np_faults", "relocations", "seed",
    "dsos_caught", "tick_count", "tick_rate", "process_faults", "irq_vector", "trap_vector",
    "idle_site", "event_count",
)  # fmt: skip
ARRAYS = (
    "handlers", "processes", "threads", "frames", "relocation_log", "applications", "attacks",
    "selftests", "stubs", "events", "services", "service_table", "bench",
)  # fmt: skip


def strip(image: Path, path: Path) -> Path:
    """Strip an image, and overwrite the magic that it would be found by."""
    subprocess.run(["objcopy", "--strip-all", image, path], check=True)
    path.write_bytes(path.read_bytes().replace(b"KLOSINFO", b"NAMELESS"))
    return path


def held(symbols: SymbolTable, name: str) -> Document:
    """Say where the image keeps a number."""
    info = symbols.address("klos_info")
    assert info is not None
    offset, size = OFFSETS[name]
    return {"at": info + offset, "width": size}


def array(symbols: SymbolTable, name: str) -> Document:
    """Say where the image keeps an array's address, count and size of an entry."""
    address = held(symbols, name)["at"]
    parts = [member.name for member in members(KlosArray)]
    return {part: {"at": address + 4 * i, "width": 4} for i, part in enumerate(parts)}


def profile(symbols: SymbolTable) -> Document:
    """Describe our own image as a stranger would: facts, arrays, a list of sites."""
    count = range(64)
    services = [symbols.address("service_null"), symbols.address("service_print")]
    assert services[0] is not None
    assert services[1] is not None
    step = services[1] - services[0]
    sites: list[Document] = [
        {
            "name": f"service {n}",
            "immediate": services[0] + step * n + 1,
            "loaded": services[0] + step * n + 0x13,
        }
        for n in count
    ]
    sites.append({"name": "cell", "immediate": "cell_of_the_core", "kind": "event-core"})
    named = {"klos_ready": "klos_ready", "cell_of_the_core": "core_dsos"}
    named |= {"dsos_relocate": "dsos_relocate", "load_fs": "load_fs"}
    return {
        "profile": 1,
        "name": "somebody else's KLOS",
        "symbols": {name: symbols.address(own) for name, own in named.items()},
        "facts": {name: held(symbols, name) for name in HELD},
        "sites": sites,
        "arrays": {name: array(symbols, name) for name in ARRAYS},
    }


@contextmanager
def profiled(image: Path, document: Document) -> Iterator[Driver]:
    """Start an image that klosdbg knows by a profile alone."""
    session = Session(timeout=PATIENCE)
    target = start_qemu(QemuOptions(image=image, append="seed=5", headless=True))
    known = parse_profile(yaml.safe_dump(document).encode(), "test")
    target, session.symbols = use_profile(target, None, known)
    session.attach(target)
    try:
        yield Driver(session, io.StringIO())
    finally:
        session.detach()
