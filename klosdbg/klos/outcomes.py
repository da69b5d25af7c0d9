"""What the guest's own runs left behind: self-tests, attacks, and the benchmark of figure 4."""

from typing import Literal

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.abi import KlosBench, KlosReport
from klosdbg.klos.constants import Flag, Result
from klosdbg.klos.find import booted_klos, read_array
from klosdbg.klos.models import MeasuredCall, Outcome, Outcomes, ServiceBench
from klosdbg.ports import Symbols, Target

_RESULTS: dict[int, Literal["pass", "fail", "not-enforced"]] = {
    Result.PASS: "pass",
    Result.FAIL: "fail",
    Result.NOT_ENFORCED: "not-enforced",
}
_COUNTERS: dict[str, tuple[Literal["instructions", "cycles"], str]] = {
    "icount": ("instructions", "each instruction is one tick of the emulator's virtual clock"),
    "kvm": ("cycles", "ticks of the time stamp counter on hardware"),
    "tcg": (
        "cycles",
        "host clock ticks under an emulator: they say nothing of hardware",
    ),
    "": ("cycles", "ticks of the time stamp counter, whatever this target makes of it"),
}


def read_outcomes(
    target: Target, symbols: Symbols | None, kind: Literal["selftest", "attacks"]
) -> Outcomes:
    """Read the reports of a run; what never ran has failed. ``selftest`` includes the attacks."""
    info = booted_klos(target, symbols).info
    reports = []
    if kind == "selftest":
        reports += [(r, False) for r in read_array(target, info.selftests, KlosReport, "selftests")]
    reports += [(r, True) for r in read_array(target, info.attacks, KlosReport, "attacks")]
    tests = tuple(_outcome(report, attack) for report, attack in reports if report.name)
    return Outcomes(kind, tests, bool(info.flags & Flag.ENFORCED))


def _outcome(report: KlosReport, is_attack: bool) -> Outcome:
    result = _RESULTS.get(report.result)
    held = bool(report.held) if is_attack else None
    if result is None:
        why = "it did not run" if report.result == Result.NONE else f"result {report.result}?"
        return Outcome(report.name, "fail", report.reason or why, report.claim, held)
    return Outcome(report.name, result, report.reason, report.claim, held)


def read_bench(target: Target, symbols: Symbols | None) -> ServiceBench:
    """Read the benchmark's rows, and find out what the guest's time stamp counter counts.

    Raise ``CommandError`` where nothing was measured.
    """
    info = booted_klos(target, symbols).info
    rows = read_array(target, info.bench, KlosBench, "bench")
    measured = tuple(_measured(row) for row in rows if row.runs)
    if not measured:
        raise CommandError("the guest measured nothing: klos_info.bench has no row")
    counter, meaning = _COUNTERS[clock(target)]
    return ServiceBench(counter, meaning, measured)


def _measured(row: KlosBench) -> MeasuredCall:
    return MeasuredCall(
        row.mechanism, row.situation, row.median, row.minimum, row.maximum, row.runs
    )


def clock(target: Target) -> Literal["icount", "kvm", "tcg", ""]:
    """Ask the emulator what drives the time stamp counter; empty where it does not tell."""
    if target.monitor is None:
        return ""
    try:
        if "kvm support: enabled" in target.monitor.command("info kvm"):
            return "kvm"
        # QEMU shows how far the guest's clock drifts only where instructions drive it.
        return "icount" if "Guest clock" in target.monitor.command("info jit") else "tcg"
    except KlosdbgError:
        return ""
