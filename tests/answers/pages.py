"""Answers to cases about paging entries, walks and page faults."""

from collections.abc import Mapping

from klosdbg.x86.bits import bits
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.flags import decode_eflags, decode_flags
from klosdbg.x86.paging import (
    Mode,
    Paging,
    Walk,
    decode_pte,
    is_canonical,
    table_index,
    walk,
)

from tests.answers.facts import (
    Answer,
    Facts,
    entry_facts,
    found,
    number,
    page_fault_facts,
    set_bits,
)


def _walk(memory: Mapping[int, int], linear: int, cr3: int, mode: Mode = "32-bit") -> Walk:
    def read(address: int, size: int) -> bytes | None:
        return memory[address].to_bytes(size, "little") if address in memory else None

    return walk(read, linear, Paging(mode, cr3, nxe=mode == "PAE"))


def _effective(found_walk: Walk) -> Facts:
    return {"user": found_walk.user, "write": found_walk.writable}


def inverted_pte(case: Facts) -> Facts:
    linear = number(case["linear"])
    pdpte, pde, pte = found(r"\*p\w+ = (\w+)", case["text"])
    indices = [table_index(linear, "PAE", level) for level in (3, 2, 1)]
    cr3 = 0x01E9_0000
    places = (cr3, decode_pte(pdpte, "PAE", 3).address, decode_pte(pde, "PAE", 2).address)
    memory = {
        place + index * 8: value
        for place, index, value in zip(places, indices, (pdpte, pde, pte), strict=True)
    }
    steps = _walk(memory, linear, cr3, "PAE")
    return {
        "indices": dict(
            zip(("pdpt", "pd", "pt"), (step.index for step in steps.steps), strict=True),
            offset=linear & 0xFFF,
        ),
        **{step.entry.name: entry_facts(step.entry) for step in steps.steps},
        "pte_present": steps.steps[-1].entry.present,
        "physical": steps.physical,
        "cr4_bits": set_bits(decode_flags("cr4", number(case["cr4"]))),
    }


def ivt_as_directory(case: Facts) -> Facts:
    linear = number(case["linear"])
    pde, pte = found(r"P[DT]E: 0x(\w+)", case["text"])
    at = decode_pte(pde, "32-bit", 2).address + table_index(linear, "32-bit", 1) * 4
    steps = _walk({0: pde, at: pte}, linear, 0)
    first, second = steps.steps
    return {
        "pde_address": first.address,
        "pde": entry_facts(first.entry),
        "pte_index": second.index,
        "pte_address": second.address,
        "pte": entry_facts(second.entry),
        "phys": steps.physical,
        "effective": _effective(steps),
    }


def two_levels(case: Facts) -> Facts:
    linear = number(case["linear"])
    rows = zip(found(r"0x(\w+) :", case["text"]), found(r" :\s+0x(\w+)", case["text"]), strict=True)
    memory = dict(rows)
    (other,) = found(r"0x14 = 0x(\w+)", case["text"])
    steps = _walk({**memory, 0x14: other}, linear, 0)
    first, second = steps.steps
    gone = _walk({0x14: other}, 5 << 22, 0)
    assert gone.why == "the pde is not present"
    return {
        "pde_index": first.index,
        "pte_index": second.index,
        "offset": linear & 0xFFF,
        "pde": entry_facts(first.entry),
        "pte": entry_facts(second.entry),
        "phys": steps.physical,
        "pde5": {"value": gone.steps[0].entry.raw, "P": gone.steps[0].entry.present},
    }


def supervisor_page(case: Facts) -> Facts:
    places = found(r"@ 0x(\w+)", case["text"])
    values = found(r"@ 0x\w+ = 0x(\w+)", case["text"])
    (cr3,) = found(r"cr3 0x(\w+)", case["text"])
    steps = _walk(dict(zip(places, values, strict=True)), number(case["linear"]), cr3)
    first, second = steps.steps
    code = decode_error_code(number(case["error_code"]), 14)
    return {
        "pde": entry_facts(first.entry),
        "pte": entry_facts(second.entry),
        "indices": {"pde": first.index, "pte": second.index},
        "effective": _effective(steps),
        "error_code": code.raw,
        "error_decode": page_fault_facts(code),
        "phys": steps.physical,
    }


def not_canonical(case: Facts) -> Facts:
    names = ("RSI", "RDI", "RDX", "R15")
    registers = {name: next(found(rf"{name}: 0x(\w+)", case["text"])) for name in names}
    assert _walk({}, registers["RDI"], 0, "4-level").steps == ()
    return {
        "canonical": {name: is_canonical(value) for name, value in registers.items()},
        "cr4_bits": set_bits(decode_flags("cr4", number(case["cr4"]))),
        "rdi_minus_rdx": registers["RDI"] - registers["RDX"],
    }


def v86_fault(case: Facts) -> Facts:
    linear = (number(case["cs"]) << 4) + number(case["ip"])
    flags = decode_eflags(number(case["eflags"]))
    (cr2,) = found(r"cr2=(\w+)", case["text"])
    return {
        "error": page_fault_facts(decode_error_code(number(case["error_code"]), 14)),
        "flags_bits": set_bits(flags),
        "linear_pc": linear,
        "cr2_reachable_from_vm86": bits(cr2, 31, 16) <= 0x10,
    }


def boot_directories(case: Facts) -> Facts:
    def facts(value: str) -> Facts:
        entry = decode_pte(number(value), "PSE", 2)
        kept = {k: v for k, v in entry_facts(entry).items() if k != "frame"}
        return {"pde": entry.raw, **kept, "base_4m": entry.address, "pat_bit12": entry.pat}

    def linear_of(index: int) -> int:
        linear = index << 22
        assert table_index(linear, "PSE", 2) == index
        return linear

    small = decode_pte(0x83, "PSE", 1)
    return {
        "pdes": [facts(value) for value in case["pde_values"]],
        **{f"linear_of_{index}": linear_of(index) for index in (768, 779, 893, 896)},
        "with_pse_off_is_table": not decode_pte(0x83, "32-bit", 2).maps_page,
        "in_a_pte": {"page_size": small.page_size, "pat": small.pat},
    }


def present_and_write(case: Facts) -> Facts:
    def reserved(**wanted: int) -> int:
        codes = (decode_error_code(raw, 14) for raw in range(16))
        rest = {"w": 0, "u": 0, "p": 1, "rsvd": 1, "i": 0} | wanted
        (code,) = [c.raw for c in codes if all(c.fields[k] == v for k, v in rest.items())]
        return code

    return {
        "error": page_fault_facts(decode_error_code(number(case["error_code"]), 14)),
        "reserved_would_be": {
            "read": reserved(),
            "write": reserved(w=1),
            "user_read": reserved(u=1),
        },
    }


ANSWERS: dict[str, Answer] = {
    "140": inverted_pte,
    "142": ivt_as_directory,
    "144": two_levels,
    "146": supervisor_page,
    "148": not_canonical,
    "150": v86_fault,
    "152": boot_directories,
    "155": present_and_write,
}
