"""Guests that Debian ships, traced with no profile: a BIOS with GRUB, Linux, memtest86+."""

import functools
import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from klosdbg.errors import CommandError
from tests.live.driver import Driver, assert_fits, driving, klosdbg
from tests.live.patience import until
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

CACHE = Path(__file__).parents[2] / "guest" / "build" / "debian"
QEMU64 = "qemu-system-x86_64"
TICKS = 0x46C
NOON = ("-rtc", "base=2020-01-01T12:00:00")
TIMER, USER_TIMER, DISK, VIDEO = 0x08, 0x1C, 0x13, 0x10
SETUP = "until 0x10200"
LINUX_TIMER, PAGE_FAULT = 48, 14
_LOGGED = re.compile(r"^ *\d+: v=(..) e=(....) i=(.) cpl=(.) IP=(....):([0-9a-f]{16}) pc", re.M)


@functools.cache
def from_debian(package: str, wanted: str) -> Path:
    """Fetch a file of a Debian package through apt, once; skip where that cannot be done."""
    if not shutil.which("apt-get"):
        pytest.skip(f"no apt-get here to fetch Debian's {package} with")
    found = sorted(CACHE.glob(f"{package}/boot/{wanted}"))
    if not found:
        (CACHE / package).mkdir(parents=True, exist_ok=True)
        name = _real_name(package)
        got = subprocess.run(["apt-get", "download", name], cwd=CACHE, capture_output=True)
        archives = sorted(CACHE.glob(f"{name}_*.deb"))
        if got.returncode or not archives:
            said = got.stderr.decode(errors="replace").strip().splitlines() or ["no such package"]
            pytest.skip(f"cannot fetch Debian's {name}: {said[-1]} (apt-get update, network?)")
        subprocess.run(["dpkg-deb", "-x", str(archives[-1]), str(CACHE / package)], check=True)
        found = sorted(CACHE.glob(f"{package}/boot/{wanted}"))
    return found[-1]


def _real_name(package: str) -> str:
    asked, english = ["apt-cache", "depends", package], os.environ | {"LC_ALL": "C"}
    shown = subprocess.run(asked, env=english, capture_output=True, text=True)
    needed = re.search(r"Depends: (linux-image-\S+)", shown.stdout)
    return needed[1] if needed else package


def documents(driver: Driver, line: str) -> list[dict[str, object]]:
    return [json.loads(row) for row in driver.line(f"{line} --json").splitlines()]


@pytest.fixture(scope="module")
def grub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CD from which GRUB boots, and waits in its menu."""
    directory = tmp_path_factory.mktemp("grub")
    menu = directory / "cd" / "boot" / "grub" / "grub.cfg"
    menu.parent.mkdir(parents=True)
    menu.write_text('set timeout=60\nmenuentry "stay" { halt }\n')
    iso = directory / "grub.iso"
    made = ["grub-mkrescue", "-o", str(iso), str(directory / "cd")]
    subprocess.run(made, check=True, capture_output=True)
    return iso


def test_a_bios_and_its_boot_loader(grub: Path) -> None:
    """Real mode: through the IVT, while GRUB changes to protected mode and back."""
    with driving(None, "-cdrom", str(grub), "-boot", "d", *NOON) as driver:
        driver.line("until 0x7c00")
        before = ticks(driver)
        driver.line("events record -n 300")
        events = documents(driver, "events show")
        after = ticks(driver)
        for line in ("events show", "events show --tree", "events stats"):
            assert_fits(driver.line(line))
    assert all(event["real"] for event in events)
    assert [event["error_code"] for event in events if event["error_code"] is not None] == []
    count = Counter(event["vector"] for event in events)
    assert min(count[TIMER], count[DISK], count[VIDEO]) > 0
    # Events count as they end: the last can be within a timer's that is still under way.
    assert after - before - count[TIMER] in (0, 1)
    assert count[USER_TIMER] - count[TIMER] in (0, 1)
    assert all(event["complete"] for event in events[:-2])
    inner = [event for event in events if event["vector"] == USER_TIMER]
    assert all(event["depth"] > 1 for event in inner)  # type: ignore[operator]


def ticks(driver: Driver) -> int:
    """The BIOS's own count of timer interrupts since midnight."""
    return int.from_bytes(bytes.fromhex(driver.models(f"mem phys:{TICKS:#x} 4")["bytes"]), "little")


def test_only_the_vectors_that_are_wanted(grub: Path) -> None:
    """Of the vectors that share a stub, the ``int`` before tells which it is."""
    with driving(None, "-cdrom", str(grub), "-boot", "d") as driver:
        driver.line("until 0x7c00")
        driver.line("events record -n 3 -v 0x1c")
        assert {event["vector"] for event in documents(driver, "events show")} == {USER_TIMER}
        stop = [driver.models("b event 0x10"), driver.models("c")][1]
        assert (stop["breakpoint"], stop["linear"]) == (1, driver.models("regs")["linear"])


@pytest.mark.skipif(
    shutil.which(QEMU64) is None, reason=f"{QEMU64} is not installed: apt install qemu-system-x86"
)
def test_linux(tmp_path: Path) -> None:
    """From its real-mode start into long mode, as QEMU's own log has it."""
    kernel, log = from_debian("linux-image-cloud-amd64", "vmlinuz-*"), tmp_path / "int.log"
    commands = (SETUP, "events record -n 500", "events show --json", "regs --json", "tss --json")
    ran = klosdbg(
        *("run", "--headless", "--timeout", "100", "--qemu", QEMU64, "--image", "none"),
        *(word for command in commands for word in ("-c", command)),
        *("--", "-m", "256", "-kernel", str(kernel), "-append", "console=ttyS0 nokaslr"),
        *("-d", "int", "-D", str(log)),
    )
    assert ran.code == 0, ran.err
    rows = [json.loads(row) for row in ran.out.splitlines() if row.startswith("{")]
    events, (regs, tss) = rows[:-2], rows[-2:]
    assert {event["real"] for event in events} == {True, False}
    found = [of(event) for event in events if not event["real"]]
    logged = list(map(pushed, _LOGGED.findall(log.read_text())))
    assert len(found) > 100
    assert {vector for vector, *_ in found} >= {LINUX_TIMER, PAGE_FAULT}
    assert (regs["mode"], tss["bits"]) == ("long", 64)
    assert Counter(found) - Counter(logged) == Counter()
    for vector in (LINUX_TIMER, PAGE_FAULT):
        assert_last(*([e for e in events if e[0] == vector] for events in (found, logged)))


def pushed(row: tuple[str, ...]) -> tuple[int, ...]:
    """An event as its handler finds it: after the ``int3`` (i=1), of which the log has the IP."""
    vector, error_code, by_int, *source, place = (int(part, 16) for part in row)
    return vector, error_code, *source, place + by_int


def assert_last(found: list[tuple[int, ...]], logged: list[tuple[int, ...]]) -> None:
    """Once its gate has been seen, which takes a while, a vector is missed no more.

    Those that are under way when there are enough are not among them.
    """
    tails = [Counter(logged[-len(found) - under_way :]) for under_way in range(4)]
    assert any(Counter(found) <= tail for tail in tails), (found, logged)


def of(event: dict[str, object]) -> tuple[int, ...]:
    source: dict[str, object] = event["source"]  # type: ignore[assignment]
    eip = source["eip"]
    place = int(eip, 16) if isinstance(eip, str) else eip
    return event["vector"], event["error_code"] or 0, source["cpl"], source["cs"], place  # type: ignore[return-value]


def test_memtest_takes_no_interrupts() -> None:
    """Its IDT is decoded, and a recording ends with the time-out, saying so."""
    image = from_debian("memtest86+", "memtest86+ia32.bin")
    with driving(None, "-kernel", str(image)) as driver:
        until(lambda: idt_limit_in_a_moment(driver) == 0x9F)
        idt = driver.models("idt")
        assert {entry["kind"] for entry in idt["entries"]} == {"interrupt-gate"}
        driver.session.timeout = 0.5
        with pytest.raises(CommandError, match="only 0 events came"):
            driver.line("events record -n 1")


def idt_limit_in_a_moment(driver: Driver) -> object:
    driver.line("c &")
    time.sleep(0.1)
    driver.line("interrupt")
    return driver.models("regs")["idtr"]["limit"]
