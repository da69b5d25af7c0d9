"""Soak KLOS: every row again and again, with DSOS moving, for so many seconds of guest time.

``python -m tests.soak 60`` is what ``make soak`` runs; the tests run a short one.
"""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

# 16 ns an instruction: guest time passes faster than the host could execute.
CLOCK = ("-icount", "shift=4")
SHOWN = ("klos", "gdt", "ldt", "ps", "threads", "frames")
_FILLER = "0x00cf73000000ffff"

Document = dict[str, Any]


def soak(seconds: int, relocations: int) -> list[str]:
    """Run the soak, and then so many more relocations; return what is wrong afterwards.

    Nothing stops the guest meanwhile: each stop would let its clock jump.
    """
    line = [sys.executable, "-m", "klosdbg", "run", "--headless", "--json", "--timeout", "0"]
    line += ["--append", f"run=soak:{seconds}"]
    relocate = f"mailbox relocate {relocations}"
    for command in ("until orders_done", "console", relocate, *SHOWN):
        line += ["-c", command]
    ran = subprocess.run([*line, "--", *CLOCK], capture_output=True, text=True)
    documents = [json.loads(row) for row in ran.stdout.splitlines()]
    if ran.returncode or ran.stderr:
        return [f"klosdbg: exit code {ran.returncode}: {ran.stderr.strip()}"]
    named = {d["schema"].split("/")[1]: d for d in documents}
    return [*_failed(named["console"]["text"], seconds), *_state(named, relocations)]


def _failed(console: str, seconds: int) -> list[str]:
    rounds = console.count(" failures\n")
    print(f"{seconds} s of guest time: {rounds} rounds of every row")
    return [line for line in console.splitlines() if line.startswith("FAIL")]


def _state(named: dict[str, Document], relocations: int) -> list[str]:
    klos, alive = named["klos"], named["ps"]["processes"]
    entries = [e for table in ("gdt", "ldt") for e in named[table]["entries"]]
    present = [e["selector"] | 3 for e in entries if _is_dsos(e)]
    states = Counter(e["raw"] == _FILLER for e in entries for _ in range(e["count"]))
    facts = {
        "one DSOS, where klos_info says": present == [klos["dsos"]],
        "all other free slots filled": states[True] == 2 * 8192 - 10,
        "no process lost": klos["processes_started"] - klos["processes_ended"] == len(alive),
        "ordinary applications live on": {"system", "ping", "pong"} == {p["name"] for p in alive},
        "three absent loads a move": klos["relocations"] >= relocations + klos["np_faults"] // 3,
        "even sequence": klos["sequence"] == 2 * klos["relocations"],
        "no panic": not klos["flags"] & 4,
        "a guess seldom hits": klos["dsos_caught"] <= 3,
    }
    return [f"not so: {fact}" for fact, holds in facts.items() if not holds]


def _is_dsos(entry: Document) -> bool:
    data = entry["kind"] == "data" and entry["present"] and entry["dpl"] == 3
    return bool(data and entry["last_byte"] == 0xFFFFFFFF)


if __name__ == "__main__":
    wrong = soak(int(sys.argv[1]), 1000)
    print("\n".join(wrong) or "nothing wrong")
    sys.exit(bool(wrong))
