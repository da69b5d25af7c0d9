"""Answers to cases through ``klosdbg decode``, as a user would type it."""

import io
import json
import re
import tempfile
from pathlib import Path

from klosdbg.commands.base import split
from klosdbg.frontend import Frontend
from klosdbg.session import Session

from tests.answers.facts import Answer, Facts, number


def printed(line: str, file: str = "") -> str:
    """Run a ``decode`` line, whose ``FILE`` holds ``file``, and check that its text fits."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pasted"
        path.write_text(file)
        words = [str(path) if word == "FILE" else word for word in split(f"decode {line}")]
        out = io.StringIO()
        Frontend(Session(), out).run_words(words)
    shown = out.getvalue()
    assert "--json" in words or max(map(len, shown.splitlines())) <= 80
    return shown


def typed(line: str, file: str = "") -> list[Facts]:
    """Run a ``decode`` line and return its documents."""
    assert printed(line, file).startswith("read as ")
    return [json.loads(row) for row in printed(f"{line} --json", file).splitlines()]


def picked(pattern: str, text: str) -> str | None:
    """Take what a pattern matches out of a text."""
    match = re.search(pattern, text)
    return match and match[0]


def page_fault(code: Facts) -> Facts:
    """Answer what the document of a page fault's code says."""
    names = {"P": "p", "W": "w", "U": "u", "RSVD": "rsvd", "ID": "i"}
    return {theirs: code[ours] for theirs, ours in names.items()}


def assembler_source(case: Facts) -> Facts:
    (source,) = typed("gdt -f FILE", case["nasm"])
    (words,) = typed(f"gdt {case['words']}")
    assert source["entries"] == words["entries"]
    return {
        "slots": [
            {"kind": entry["kind"]}
            | {
                name: entry[name]
                for name in ("base", "limit", "last_byte", "dpl", "db", "readable", "writable")
                if name in entry
            }
            for entry in source["entries"]
        ]
    }


def no_execute_at_the_root(case: Facts) -> Facts:
    (code,) = typed(f"errorcode --vector PF {case['error_code']}")
    line = f"pte --mode 4-level --level 4 {case['pml4e']}"
    (entry,) = typed(line)
    return {
        "error": page_fault(code),
        "says": picked(r"XD=1 at one of its levels", code["explanation"]),
        "pml4e": {name: entry[name] for name in ("name", "nx", "address")},
        "rule": picked(r"R/W and U/S .*", printed(line)),
    }


def fetch_or_read(case: Facts) -> Facts:
    codes = [typed(f"errorcode --vector PF {code}")[0] for code in case["error_codes"]]
    (rule,) = {code["doubt"] for code in codes}
    return {"explanations": [code["explanation"] for code in codes], "rule": rule}


def pdpte_not_loaded(case: Facts) -> Facts:
    (entry,) = typed(f"pte --mode PAE --level 3 {case['pdpte']}")
    (found,) = entry["findings"]
    return {
        "name": entry["name"],
        "reserved": entry["reserved"],
        "severity": found["severity"],
        "raises": picked(r"#GP\(0\), and never #PF", found["text"]),
    }


def decimal_error_code(case: Facts) -> Facts:
    (code,) = typed(f"errorcode --vector 13 {case['error_code']}")
    (found,) = code["findings"]
    (again,) = typed(f"errorcode --vector 13 {picked('0x10(?=:)', found['text'])}")
    return {
        "if_decimal": again["raw"],
        "selector": again["selector"],
        "means": picked(r"selector .*", found["text"]),
    }


def inverted_frame(case: Facts) -> Facts:
    (code,) = typed(f"errorcode --vector PF {case['error_code']}")
    (address,) = typed(f"address --mode 4-level {case['linear']}")
    line = f"pte --mode 4-level {case['pte']}"
    (entry,), (narrow,) = typed(line), typed(f"{line} --maxphyaddr 46")
    (found,) = entry["findings"]
    assert [f["rule"] for f in narrow["findings"]] == ["pte-reserved", "frame-inverted"]
    return {
        "error": page_fault(code),
        "indices": [level["index"] for level in address["indices"]],
        "present": entry["present"],
        "frame": entry["frame"],
        "needs": picked(r"52 bits", found["text"]),
        "inverted": picked(r"(?<=inverted it is )0x\w+", found["text"]),
        "reserved_with_46_bits": narrow["reserved"],
    }


def five_levels(case: Facts) -> Facts:
    modes = ("4-level", "5-level")
    four, five = (typed(f"address --mode {mode} {case['address']}")[0] for mode in modes)
    (free,) = typed(f"address {case['address']}")
    return {
        "canonical": {"4-level": four["canonical"], "5-level": five["canonical"]},
        "least_bits": five["canonical_bits"],
        "indices": [level["index"] for level in five["indices"]],
        "without_a_mode": free["mode"],
    }


def one_line(text: str) -> str:
    """Undo the wrapping of a text."""
    return " ".join(text.split())


def rules_of(document: Facts) -> list[str]:
    """Name the rules that a document's findings break."""
    return [found["rule"] for found in document["findings"]]


def stack_with_sp(case: Facts) -> Facts:
    (segment,) = typed(f"descriptor {case['descriptor']}")
    (found,) = segment["findings"]
    names = ("base", "limit", "g", "db", "kind", "writable", "accessed", "dpl")
    return {
        **{name: segment[name] for name in names},
        "as_a_stack": picked(r"pushes and pops .*", found["text"]),
    }


def limit_is_size(case: Facts) -> Facts:
    raw = bytearray(number(case["size"]))
    raw[102:104] = number(case["iomap_base"]).to_bytes(2, "little")
    line = f"tss --bits 64 --limit {case['limit']} -f FILE"
    (tss,) = typed(line, raw.hex(" "))
    (descriptor,) = typed(f"descriptor {case['descriptor']}")
    return {
        "ports": tss["ports"],
        "rule": picked(r"iomap_base 0x68 is not .* IOPL", one_line(printed(line, raw.hex(" ")))),
        "findings": rules_of(tss),
        "findings_of_the_descriptor": rules_of(descriptor),
    }


def bitmap_beyond_both_limits(case: Facts) -> Facts:
    raw = bytes(0x64) + number(case["dword_at_0x64"]).to_bytes(4, "little") + b"\0"
    answers = []
    for limit in case["limits"]:
        line = f"tss --limit {limit} -f FILE"
        (tss,) = typed(line, raw.hex(" "))
        said = one_line(printed(line, raw.hex(" ")))
        answers.append(
            {
                "t_bit": tss["t"],
                "iomap_base": tss["iomap_base"],
                "ports": tss["ports"],
                "rule": picked(r"so every port is denied above IOPL", said),
            }
        )
    first, second = answers
    assert first == second
    return first


def _rule(document: Facts, rule: str) -> Facts:
    (found,) = (found for found in document["findings"] if found["rule"] == rule)
    return dict(found)


def lma_missing(case: Facts) -> Facts:
    (cpu,) = map(json.loads, printed("registers --json -f FILE", case["text"]).splitlines())
    found = _rule(cpu, "lma")
    return {
        "severity": found["severity"],
        "where": found["where"],
        "efer": cpu["efer"],
        "must_be": picked(r"0x\w+$", found["text"]),
    }


def idtr_at_reset(case: Facts) -> Facts:
    (cpu,) = map(json.loads, printed("registers --json -f FILE", case["text"]).splitlines())
    found = _rule(cpu, "idt-reset")
    return {
        "mode": cpu["mode"],
        "paging": cpu["paging"],
        "idtr": cpu["idtr"],
        "severity": found["severity"],
        "says": picked("the reset value", found["text"]),
    }


ANSWERS: dict[str, Answer] = {
    "202": idtr_at_reset,
    "220": assembler_source,
    "221": stack_with_sp,
    "222": limit_is_size,
    "223": bitmap_beyond_both_limits,
    "225": decimal_error_code,
    "227": lma_missing,
    "240": inverted_frame,
    "242": no_execute_at_the_root,
    "244": five_levels,
    "245": fetch_or_read,
    "247": pdpte_not_loaded,
}
