"""Answers to cases about descriptors, gates and their tables."""

from dataclasses import replace
from itertools import count

from klosdbg.x86.checks import check_descriptor
from klosdbg.x86.descriptor import (
    Segment,
    decode_descriptor,
    descriptor_size,
)
from klosdbg.x86.flags import decode_eflags
from klosdbg.x86.selector import decode_selector
from klosdbg.x86.table import decode_table
from klosdbg.x86.tss import MINIMUM_LIMIT, decode_tss

from tests.answers.facts import (
    Answer,
    Facts,
    descriptor_facts,
    eflags_label,
    error_facts,
    found,
    gate_facts,
    number,
    only_cpu,
    raw_descriptor,
    rules,
    selector_facts,
    system_type,
    table_facts,
)


def missing_s_bit(case: Facts) -> Facts:
    pairs = case["descriptors"]
    modes = {"protected": False, "long": True}
    return {
        "descriptors": [descriptor_facts(pair, long_mode=True) for pair in pairs],
        **{
            f"{mode}_mode_names": [
                system_type(decode_descriptor(raw_descriptor(p), long)) for p in pairs
            ]
            for mode, long in modes.items()
        },
        "findings": [
            rule
            for pair in pairs
            for rule in rules(check_descriptor(decode_descriptor(raw_descriptor(pair))))
        ],
    }


def base_high_byte(case: Facts) -> Facts:
    """Add a chunk to the base's low three bytes, as the loader did, until byte 7 is wrong."""
    step, start = number(case["chunk"]), number(case["start"])
    for chunk in count():
        wanted = start + chunk * step
        low = (wanted & 0xFF_FFFF) << 16 | 0xFFFF | 0x93 << 40
        segment = decode_descriptor(low.to_bytes(8, "little"))
        assert isinstance(segment, Segment)
        if segment.base != wanted:
            break
        last = wanted
    labels = zip(case["descriptors"], ("bug", "fixed"), strict=True)
    return {
        "first_bad_chunk": chunk,
        "intended_base": wanted,
        "actual_base": segment.base,
        "last_good_base": last,
        "descriptors": [{**descriptor_facts(pair), "where": label} for pair, label in labels],
    }


def typed_as_data(case: Facts) -> Facts:
    codes = found(r"error_code=(00[1-9a-f][0-9a-f]|000[1-9a-f])", case["text"])
    return {
        "descriptors": [descriptor_facts(pair) for pair in case["descriptors"]],
        "error_codes": {f"{code:#06x}": error_facts(code) for code in codes},
    }


def ldt_and_tss(case: Facts) -> Facts:
    selectors = list(found(r"s=(0x[0-9a-f]{4})", case["text"]))
    ds = next(p for p in case["descriptors"] if "DS=" in p["where"])
    segment = decode_descriptor(raw_descriptor(ds))
    assert isinstance(segment, Segment)
    return {
        "descriptors": [descriptor_facts(pair) for pair in case["descriptors"]],
        "selectors": {f"{s:#06x}": selector_facts(s) for s in selectors},
        "linear_of_ds_3004": segment.base + 0x3004,
    }


def long_mode_sizes(_case: Facts) -> Facts:
    def size(access: int) -> int:
        return descriptor_size(bytes((0, 0, 0, 0, 0, access, 0, 0)), long_mode=True)

    def kind(system: int) -> str:
        raw = bytes((1, 0, 0, 0, 0, system, 0, 0)) + bytes(8)
        return decode_descriptor(raw, long_mode=True).kind

    idt = decode_table("idt", 0, 0xFFF, [(0, bytes(0x1000))], long_mode=True)
    reserved = [system for system in range(16) if kind(system) == "reserved"]
    return {
        "entry_size_bytes": {
            "code/data": size(0x9A),
            "LDT": size(0x82),
            "TSS": size(0x89),
            "CallGate64": size(0x8C),
            "IDT gate": idt.entry_size,
        },
        "reserved_types_in_long_mode": [
            "0x0 (upper half)" if system == 0 else system for system in reserved
        ],
        "type_c_name": "CallGate64" if kind(0xC) == "call-gate" else kind(0xC),
    }


def expand_down(case: Facts) -> Facts:
    pair = {"qword": case["qword"]}
    assert raw_descriptor(pair) == raw_descriptor({"lo": case["lo"], "hi": case["hi"]})
    segment = decode_descriptor(raw_descriptor(pair))
    assert isinstance(segment, Segment)
    lower = replace(segment, limit=0)
    assert lower.valid_offsets is not None
    first, last = segment.valid_offsets or (1, 0)
    return {
        "decode": descriptor_facts(pair),
        "upper_bound": lower.valid_offsets[1],
        "valid_offsets": segment.valid_offsets,
        "access_0x10011": "allowed" if first <= 0x10011 <= last else "#GP(0)",
        "linear_if_unchecked": segment.base + 0x10011,
    }


def not_shifted(case: Facts) -> Facts:
    def facts(pair: Facts) -> Facts:
        return descriptor_facts({"qword": pair["qword"]})

    stored = [decode_descriptor(raw_descriptor(pair)) for pair in case["stored"]]
    return {
        "stored": [facts(pair) for pair in case["stored"]],
        "intended": [facts(pair) for pair in case["intended"]],
        "findings": [rule for d in stored for rule in rules(check_descriptor(d))],
    }


def inclusive_limit(case: Facts) -> Facts:
    def slots(limit: int) -> int:
        return decode_table("gdt", 0, limit, [(0, bytes(limit + 1))]).slots

    selector = decode_selector(number(case["selector"]))
    return {
        "last_byte_of_selector_0x10": selector.byte_offset + 7,
        "limit": case["limit"],
        "accessible": selector.index < slots(case["limit"]),
        "max_selector_for_limit": {
            f"{limit:#x}": (slots(limit) - 1) * 8 for limit in (0x17, 0x18, 0x1F)
        },
    }


def idt_limit(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    idt = decode_table("idt", cpu.idtr.base, cpu.idtr.limit, [])
    gdt = decode_table("gdt", cpu.gdtr.base, cpu.gdtr.limit, [])
    return {
        "idt": {
            **table_facts(cpu.idtr),
            "gates": idt.slots,
            "correct_limit": idt.slots * idt.entry_size - 1,
        },
        "gdt": {"base": gdt.base, "limit": gdt.limit, "entries": gdt.slots},
        "ifl": decode_eflags(cpu.eflags).fields["if"],
        "eflags": eflags_label(cpu.eflags),
    }


def clobbered_idt(case: Facts) -> Facts:
    codes = list(found(r"error_code=(00[1-9a-f]\w|[1-9a-f]\w{3})", case["text"]))
    limit = next(found(r"limit \((\w+)\)", case["text"]))
    selector = decode_selector(codes[-1] & ~1)
    last = selector.byte_offset + 7
    return {
        "error_codes": {f"{code:#06x}": error_facts(code) for code in codes},
        f"selector_{selector.raw:#x}": {
            **selector_facts(selector),
            "last_byte": last,
            "gdt_limit": limit,
            "inside": last <= limit,
        },
    }


def tss16(case: Facts) -> Facts:
    tss, gdt, idt = case["descriptors"]
    limit = number(case["tables"]["idt_limit"])
    vectors = decode_table("idt", 0, limit, [(0, bytes(limit + 1))]).slots
    distinct = bytes(range(44))
    fields = decode_tss(distinct, 16, 43).fields
    wanted = ("back_link", "sp0", "ss0", "ip", "flags", "ax", "ldt")
    return {
        "tss0": descriptor_facts({"lo": tss["lo"], "hi": tss["hi"]}),
        "gate_gdt": gate_facts(gdt),
        "gate_idt": gate_facts(idt),
        "tss16_min_limit": MINIMUM_LIMIT[16],
        "idt_vectors": vectors,
        "last_vector": vectors - 1,
        "tss16_layout": {name: (fields[name] or 0) & 0xFF for name in wanted},
    }


ANSWERS: dict[str, Answer] = {
    "002": missing_s_bit,
    "005": base_high_byte,
    "007": typed_as_data,
    "009": ldt_and_tss,
    "011": long_mode_sizes,
    "014": expand_down,
    "016": not_shifted,
    "018": inclusive_limit,
    "020": idt_limit,
    "022": clobbered_idt,
    "024": tss16,
}
