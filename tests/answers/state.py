"""Answers to cases about register dumps and logs."""

from klosdbg.wire.inforegs import parse_dumps
from klosdbg.x86.checks import check_cpu, check_table
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.flags import decode_eflags, decode_flags
from klosdbg.x86.selector import decode_selector
from klosdbg.x86.table import decode_table
from klosdbg.x86.tss import MINIMUM_LIMIT

from tests.answers.facts import (
    Answer,
    Facts,
    eflags_label,
    found,
    number,
    only_cpu,
    page_fault_facts,
    qemu_label,
    rules,
    selector_facts,
    set_bits,
    table_facts,
)


def _slots(cpu: Cpu) -> int:
    return decode_table("gdt", cpu.gdtr.base, cpu.gdtr.limit, []).slots


def _vectors(cpu: Cpu) -> int:
    table = decode_table("idt", cpu.idtr.base, cpu.idtr.limit, [], long_mode=cpu.long_mode)
    return table.slots


def _nibble(register: SegmentRegister) -> Facts:
    return {"G": register.g, "D": register.db, "L": register.l, "AVL": register.avl}


def l_and_d(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    cs, tr = cpu.segments["cs"], cpu.segments["tr"]
    broken = rules(check_cpu(cpu))
    return {
        "CS": {
            "selector": selector_facts(cs.selector),
            "limit": cs.limit,
            "flags_nibble": _nibble(cs),
            "qemu_label": qemu_label(cs),
            "valid": "cs-l-and-d" not in broken,
        },
        "ES": {"flags_nibble": _nibble(cpu.segments["es"])},
        "TR": {
            "selector": selector_facts(tr.selector),
            "limit": tr.limit,
            "expected_minimum_limit": MINIMUM_LIMIT[32],
            "tss_bytes_covered": tr.limit + 1,
        },
        "gdt_entries": _slots(cpu),
        "idt_entries": _vectors(cpu),
        "findings": broken,
    }


def smm_and_unreal(case: Facts) -> Facts:
    (before, _), (after, _) = parse_dumps(case["text"])
    es = after.segments["es"]
    return {
        "before": {
            "eflags": eflags_label(before.eflags),
            "idt_vectors": _vectors(before),
            "mode": before.mode,
            "paging": before.paging,
            "code_bits": before.code_bits,
        },
        "after": {
            "eflags": eflags_label(after.eflags),
            "linear_pc": after.linear_pc,
            "es_base_is_sel_shl_4": es.base == es.selector << 4,
            "G": es.g,
            "mode": after.mode,
        },
    }


def tr_index(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    cs = cpu.segments["cs"]
    return {
        "tr": selector_facts(cpu.segments["tr"].selector),
        "gdt_slots": _slots(cpu),
        "cs": {"limit": cs.limit, "type": cs.type, "label": qemu_label(cs)},
        "rflags": eflags_label(cpu.eflags),
        "rf": decode_eflags(cpu.eflags).fields["rf"],
        "cr4_bits": set_bits(decode_flags("cr4", cpu.cr4)),
        "mode": cpu.mode,
    }


def old_kvm(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])

    def access(name: str) -> int:
        register = cpu.segments[name]
        return register.present << 7 | register.dpl << 5 | register.s << 4 | register.type

    names = {"cs": "cs", "ds": "ds", "tr": "tr", "ldt": "ldtr"}
    return {
        "mode": cpu.mode,
        "idt": {"base": cpu.idtr.base, "limit": cpu.idtr.limit},
        "gdt_slots": _slots(cpu),
        "access_bytes": {theirs: access(ours) for theirs, ours in names.items()},
        "findings": rules(check_cpu(cpu)),
    }


def nested_guests(case: Facts) -> Facts:
    (first, _), (second, missing) = parse_dumps(case["text"])
    assert "CS" in missing

    def layout(cpu: Cpu) -> str:
        return f"{64 if 'rax' in cpu.gpr else 32}-bit registers"

    cs = first.segments["cs"]
    return {
        "first": {
            "LMA": first.efer >> 10 & 1,
            "paging": first.paging != "off",
            "layout": layout(first),
            "cs_label_misleading": cs.l and first.mode == "protected",
            "vmxe": decode_flags("cr4", first.cr4).fields["vmxe"],
            "mode": first.mode,
        },
        "second": {"LMA": second.long_mode, "layout": layout(second)},
        "halted": first.hlt and second.hlt,
        "cr4_bits": set_bits(decode_flags("cr4", first.cr4)),
    }


def smi_entry(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    cs = cpu.segments["cs"]
    return {
        "smbase": cs.base,
        "smi_entry_linear": cpu.linear_pc,
        "sel_shl_4_is_not_base": cs.selector << 4 != cs.base,
        "smm": cpu.smm,
    }


def vex_without_idt(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    fields = decode_flags("cr4", cpu.cr4).fields
    return {
        "idt_vectors": _vectors(cpu),
        "gdt": {
            **table_facts(cpu.gdtr),
            "full_entries": _slots(cpu),
            "unaligned_base": "table-alignment" in rules(check_cpu(cpu)),
        },
        "cr4": {name: fields[name.lower()] for name in ("PAE", "OSFXSR", "OSXSAVE")},
        "rflags": eflags_label(cpu.eflags),
    }


def fault_in_gdt(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    selector = decode_selector(cpu.segments["cs"].selector)
    cr2 = list(found(r"CR2=(\w+)", case["text"]))[-1]
    address = cpu.gdtr.base + selector.byte_offset
    return {
        "cr2_is_descriptor": cr2 == address,
        "selector": selector_facts(selector),
        "descriptor_address": address,
        "gdt_slots": _slots(cpu),
        "error": page_fault_facts(decode_error_code(0, 14)),
    }


def wrong_register(case: Facts) -> Facts:
    first, second = (decode_flags("cr0", number(value)) for value in case["writes"])
    dump = (
        f"EIP=0 EFL=2\nCS =0008 00000000 ffffffff 00cf9a00\n"
        f"IDT= 00000000 000007ff\nCR0={second.raw:08x} CR4=0"
    )
    return {
        "first_write": {"value": first.raw, "bits": set_bits(first)},
        "second_write": {
            "value": second.raw,
            "PG": second.fields["pg"],
            "PE": second.fields["pe"],
        },
        "findings": rules(check_cpu(only_cpu(dump))),
    }


def phantom_entries(case: Facts) -> Facts:
    (base,) = found(r"base=0x(\w+), limit=2048", case["text"])
    raw = bytearray(0x801)
    for at, high, low in _unknown_rows(case["text"]):
        raw[at : at + 8] = (high << 32 | low).to_bytes(8, "little")
    table = decode_table("gdt", base, 0x800, [(base, bytes(raw))])
    return {
        "limit": table.limit,
        "limit_is_8n_minus_1": not table.cut,
        "gdt_findings": [rule for rule in rules(check_table(table)) if rule.startswith("table")],
    }


def _unknown_rows(text: str) -> list[tuple[int, int, int]]:
    columns = (r"GDT\[0x(\w+)\]=\?\?\?", r"\?\?\? descriptor hi=0x(\w+)", r"hi=0x\w+, lo=0x(\w+)")
    return list(zip(*(found(column, text) for column in columns), strict=True))


ANSWERS: dict[str, Answer] = {
    "001": l_and_d,
    "012": phantom_entries,
    "070": smm_and_unreal,
    "072": tr_index,
    "074": old_kvm,
    "076": nested_guests,
    "078": smi_entry,
    "090": vex_without_idt,
    "092": fault_in_gdt,
    "173": wrong_register,
}
