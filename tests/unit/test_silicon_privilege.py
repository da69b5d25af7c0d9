"""Which instructions a processor keeps to ring 0 (SDM Vol. 3A, 5.9)."""

import pytest
from tests.processors import CODE_X, cpu, segment
from tests.unit.test_silicon_rules import GP, NULL, check, found

PRIVILEGED = {
    "hlt": "f4",
    "clts": "0f06",
    "sysret": "0f07",
    "invd": "0f08",
    "wbinvd": "0f09",
    "wbnoinvd": "f30f09",
    "mov eax, cr0": "0f20c0",
    "mov eax, dr7": "0f21f8",
    "mov cr3, eax": "0f22d8",
    "mov dr7, eax": "0f23f8",
    "wrmsr": "0f30",
    "rdmsr": "0f32",
    "rdpmc": "0f33",
    "sysexit": "0f35",
    "lldt": "0f00d0",
    "ltr": "0f00d8",
    "lgdt": "0f0113",
    "lidt": "0f011b",
    "lmsw ax": "0f01f0",
    "lmsw [ebx]": "0f0133",
    "invlpg": "0f013b",
    "xsetbv": "0f01d1",
    "swapgs": "0f01f8",
    "invpcid": "660f388203",
}
# What looks like one of these: SLDT, STR, SGDT, SIDT, SMSW, XGETBV, RDTSC, CLI, STI, SYSENTER.
UNPRIVILEGED = ["0f00c0", "0f00c8", "0f0103", "0f010b", "0f01e0", "0f01d0"]
UNPRIVILEGED += ["0f31", "fa", "fb", "0f34"]


@pytest.mark.parametrize("code", [pytest.param(raw, id=name) for name, raw in PRIVILEGED.items()])
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_what_belongs_to_ring_0(mode: str, code: str) -> None:
    """#GP(0) in the other rings, whatever the operands are; nothing in ring 0."""
    refused = found(check(cpu(NULL, mode=mode, ebx=0xFFFF), code))
    assert refused == ("privilege", GP, 0, "cs", 0x1000, len(code) // 2, "execute")
    assert check(cpu(mode=mode, cpl=0, ebx=0x200), code) is None


def test_real_mode_is_ring_0() -> None:
    """Nothing is kept from it; virtual 8086 mode is ring 3."""
    assert check(cpu(mode="real"), "f4") is None
    assert found(check(cpu(mode="v86"), "f4")) == ("privilege", GP, 0, "cs", 0x1000, 1, "execute")


@pytest.mark.parametrize("code", UNPRIVILEGED)
def test_what_any_ring_may_execute(code: str) -> None:
    """Neighbours of the instructions of ring 0, and those that go by IOPL."""
    assert check(cpu(cpl=3, ebx=0x200), code) is None


@pytest.mark.parametrize(
    ("code", "switch", "with_0"),
    [("0f31", 1 << 2, False), ("0f01f9", 1 << 2, False), ("0f33", 1 << 8, True)],
    ids=["rdtsc", "rdtscp", "rdpmc"],
)
def test_what_cr4_decides(code: str, switch: int, with_0: bool) -> None:
    """TSD keeps the time stamp counter to ring 0; PCE lets others have the performance counters."""
    assert (check(cpu(cr4=0), code) is not None) == with_0
    assert (check(cpu(cr4=switch), code) is not None) != with_0
    assert check(cpu(cr4=0, cpl=0), code) is None


def test_a_fetch_comes_before_the_ring() -> None:
    """An instruction that lies past the code limit is not looked at."""
    violation = check(cpu(segment("cs", 0x1000, CODE_X)), "0f09")
    assert violation is not None
    assert violation.rule == "code-limit"
