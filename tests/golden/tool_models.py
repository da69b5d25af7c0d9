"""Models of ``decode``, ``doctor`` and checks with a fixed content."""

from collections.abc import Iterator
from dataclasses import replace

from klosdbg.models import Decoded, Diagnosis, GdbOutput, HelpText, OwnImages, Remark, Tool
from klosdbg.x86.address import decode_address
from klosdbg.x86.checks import check_walk
from klosdbg.x86.control import Cr3
from klosdbg.x86.enforcement import ProbeResult, decode_probe_report
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.findings import Finding, Findings
from klosdbg.x86.flags import decode_flags
from klosdbg.x86.paging import Paging, decode_pte, walk
from klosdbg.x86.selector import Selector

SELECTOR_PAST = Finding("limit", "error", "selector 0x1f", "its entry ends past the LDT's limit")
ODD = Finding(
    "reserved", "warning", "descriptor", "a reserved bit is set, and " * 5 + "that is all"
)
NOTE = Finding("unused", "note", "gdt", "nothing selects it")
REPORT = """\
PROBE|1|machine=guest|rows=4|vendor=AuthenticAMD|hypervisor=TCGTCGTCGTCG|signature=0x663
ROW|read-past-limit-byte|data|3|#GP(0)|passes|0x1234|differs|read a byte past the limit
ROW|null-ss|load|3|#GP(0)|#GP(0)|0x1240|same|load SS with a null selector
ROW|write-null-es|data|3|#GP(0)|passes|0x1250|differs|write through a null ES
ROW|icebp|debug|3|#DB|needs VMX|0|skipped|execute F1
END|same=1|differs=2|skipped=1
"""

ENVIRONMENT = (
    ("klosdbg", "0.1.0"),
    ("python", "3.11.2"),
    ("system", "Debian GNU/Linux 12 (bookworm), Linux 6.1.0-18-some-cloud-or-other-amd64 x86_64"),
    ("qemu", "7.2.22 (/usr/bin/qemu-system-i386)"),
    ("gdb", "of an unknown version"),
    ("accelerators", "tcg ok, kvm cannot-start"),
)


def _entry(address: int, size: int) -> bytes:
    """Read a page directory at 0x1000 and a page table at 0x2000."""
    held = {0x1000: 0x2027, 0x1008: 0x00C000E3, 0x100C: 0x0020_0083, 0x2400: 0x0030_0061}
    return held.get(address, 0).to_bytes(size, "little")


def decoded() -> Iterator[tuple[str, object]]:
    """Yield what ``decode`` shows of single values."""
    yield "decode-eflags", Decoded(decode_flags("eflags", 0x246), "number", reading="a number")
    cr0 = decode_flags("cr0", 0x80010033)
    yield "decode-cr0", Decoded(cr0, "memory", (ODD,), reading="bytes in memory order")
    yield "decode-efer", decode_flags("efer", 0x1_0000_0D01)
    yield "decode-selector", Decoded(Selector(0x8293), "memory", (), 1)
    yield "decode-pf", decode_error_code(7, 14)
    yield "decode-gp", decode_error_code(0x8293, 13)
    yield "decode-no-vector", decode_error_code(0x10002, None)
    yield "decode-pte", decode_pte(0x8000_0000_0020_4067, "PAE", 1)
    yield "decode-address", decode_address(0xFF3F_3CFF_C012_3456)
    yield "decode-cr3", Cr3(0x6000_0002_D701_5018, "4-level", pcide=None)
    yield "decode-pde-large", decode_pte(0x83, "PSE", 2)
    yield "walk", Decoded(walk(_entry, 0x10_0123, Paging("PSE", 0x1000)))
    yield "walk-large", Decoded(walk(_entry, 0x80_0123, Paging("PSE", 0x1000)))
    yield "walk-absent", walk(_entry, 0x40_0000, Paging("PSE", 0x1000))
    reserved = walk(_entry, 0xC0_0000, Paging("PSE", 0x1000))
    yield "walk-reserved", Decoded(reserved, findings=tuple(check_walk(reserved)))
    yield "decode-pte-absent", decode_pte(0x1234_5678, "PSE", 1)


def tools() -> Iterator[tuple[str, object]]:
    """Yield findings, the doctor's report, help and remarks."""
    yield "findings", Findings((SELECTOR_PAST, ODD, NOTE))
    yield "findings-none", Findings(())
    programs = (
        Tool("qemu-system-i386", "qemu-system-x86", "boots guests", True, "7.2.22"),
        Tool("gdb", "gdb", "source-level debugging", False, ""),
        Tool("bochs", "bochs vgabios", "tests: enforces what TCG does not", False, None),
    )
    probes = (
        ProbeResult("tcg", "ok", "", "qemu32", decode_probe_report(REPORT)),
        ProbeResult(
            "kvm", "cannot-start", "there is no /dev/kvm: the host has no KVM, or hides it"
        ),
    )
    packages = (("capstone", "5.0.9"), ("pyyaml", None))
    place = "/klosdbg/guest"
    built = OwnImages(
        True,
        (
            (f"{place}/build/klos.elf", "b0ae6a9dab8d803ffb44de6e5d18caa9b74bc65"),
            (f"{place}/probe/build/probe.elf", None),
        ),
    )
    came = replace(built, in_checkout=False)
    yield "doctor", Diagnosis(programs, packages, built, probes, environment=ENVIRONMENT)
    yield "doctor-rows", Diagnosis(programs[:1], packages[:1], came, probes[:1], True)
    yield "help", HelpText("usage: gdt\n\nshow the GDT", (("gdt", "show the GDT"),))
    yield "echo", Remark("What follows:")
    yield "gdb", GdbOutput("bt", "#0  main () at main.c:12\n#1  \x1b[2J\n")
    yield "gdb-error", GdbOutput("p x", "", 'gdb: No symbol "x" in current context.')


MODELS = {name: model for family in (decoded, tools) for name, model in family()}
