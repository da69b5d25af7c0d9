"""Answers to cases about error codes, TSSs and I/O bitmaps."""

from dataclasses import replace

from klosdbg.wire.hexinput import parse_hex
from klosdbg.x86.checks import check_tss
from klosdbg.x86.descriptor import (
    Segment,
    SystemSegment,
    decode_descriptor,
    decode_gate,
)
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.iobitmap import IoBitmap
from klosdbg.x86.tss import MINIMUM_LIMIT, Tss, decode_tss

from tests.answers.facts import (
    Answer,
    Facts,
    descriptor_facts,
    eflags_label,
    error_facts,
    found,
    number,
    only_cpu,
    raw_descriptor,
    rules,
    selector_facts,
)

_REASONS = {"bit-set": "bit set", "past-limit": "beyond limit"}


def software_interrupt(case: Facts) -> Facts:
    code = decode_error_code(number(case["error_code"]), 13)

    def of_vector(vector: int) -> int:
        codes = (decode_error_code(raw, 13) for raw in range(0x1000))
        return next(c.raw for c in codes if c.idt and not c.ext and c.index == vector)

    return {
        "error": error_facts(code.raw),
        "vector": code.index,
        "int_0_error": of_vector(0),
        "int3_error": of_vector(3),
        "EXT": code.ext,
    }


def spurious_irq(case: Facts) -> Facts:
    facts = error_facts(case["error_code"])
    return {"error": facts, "vector": facts["index"]}


def iret_errors(case: Facts) -> Facts:
    return {name: error_facts(value) for name, value in case.items()}


def fs_load(case: Facts) -> Facts:
    return {
        "selector": selector_facts(case["selector"]),
        "error": error_facts(case["error_code"]),
    }


def two_frames(case: Facts) -> Facts:
    lines = [line for line in case["text"].splitlines() if line.startswith("0x")]
    start = int(lines[0].partition(":")[0], 16)
    words = parse_hex("\n".join(lines)).values(4, "a doubleword")

    def frame(at: int, names: tuple[str, ...]) -> Facts:
        first = (at - start) // 4
        return {"at": at, **dict(zip(names, words[first:], strict=False))}

    exception = frame(0x0803CFDC, ("error", "eip", "cs", "eflags"))
    return {
        "exception_frame": exception,
        "iret_frame": frame(0x0803CFEC, ("eip", "cs", "eflags", "esp", "ss")),
        "error": error_facts(exception["error"]),
    }


def null_error(case: Facts) -> Facts:
    return {"error": error_facts(case["error_code"])}


def null_ss0(case: Facts) -> Facts:
    (selector,) = found(r"tr:s=0x(\w+)", case["text"])
    tss = decode_tss(bytes(104), 32, 0x67, 0x8100_03E8)
    return {
        "tr": selector_facts(selector),
        "io_map": {"base": tss.fields["iomap_base"]},
        "findings": rules(check_tss(tss)),
    }


def five_bytes(case: Facts) -> Facts:
    base = number(case["iomap_base"])
    raw = bytes(map(number, case["iomap_bytes"]))
    limit = max(case["tss_size"], base + len(raw)) - 1
    bitmap = IoBitmap(raw, base, limit)

    def result(access: str) -> str:
        _, port, _, size = access.split()
        refusal = bitmap.refusal(int(port), int(size))
        return "allowed" if refusal is None else f"denied ({_REASONS[refusal]})"

    ((first, last),) = bitmap.allowed
    return {
        "descriptor_limit": bitmap.limit,
        "buggy_limit": bitmap.limit + 1,
        "result": {access: result(access) for access in case["accesses"]},
        "allowed_ports": f"{first}..{last}",
    }


def _with_bitmap_at(base: int, limit: int) -> Tss:
    return decode_tss(bytes(102) + base.to_bytes(2, "little"), 32, limit)


def _covered(base: int, limit: int) -> int:
    bitmap = _with_bitmap_at(base, limit).io
    return sum(bitmap.refusal(port, 1) != "past-limit" for port in range(0x10000))


def bitmap_beyond_limit(case: Facts) -> Facts:
    variants = [(v["iomap_base"], v["tss_limit"]) for v in case["variants"]]
    return {
        "per_variant": {f"{b}/{n}": _covered(number(b), number(n)) for b, n in variants},
        "also_no_ports": {f"{base:#06x}": _covered(base, 0x67) for base in (0x8000, 0xDFFF)},
    }


def whole_bitmap(case: Facts) -> Facts:
    cpu = only_cpu(case["text"])
    tr, fs, gs = (cpu.segments[name] for name in ("tr", "fs", "gs"))
    opened = decode_tss(bytes(102) + b"\x68\0" + bytes(8192) + b"\xff" * 4, 32, tr.limit)
    stack = gs.descriptor
    assert isinstance(stack, Segment)
    return {
        "tr": {
            "selector": selector_facts(tr.selector),
            "limit": tr.limit,
            "bytes": tr.limit + 1,
            "split": [104, len(opened.io.raw) - 1, tr.limit + 1 - 104 - 8192],
            "covers": sum(last - first + 1 for first, last in opened.io.allowed),
        },
        "segments": {
            "FS": {"G": fs.g, "D": fs.db, "qemu": "DS16", "base": fs.base},
            "GS": {
                "G": gs.g,
                "B": gs.db,
                "limit": gs.limit,
                "qemu": "DS   [--A]",
                "writable": stack.writable,
                "code": stack.executable,
            },
        },
        "eflags": eflags_label(cpu.eflags),
        "hlt": cpu.hlt,
    }


def port_29h(case: Facts) -> Facts:
    port = number(case["port"])
    raw = bytearray(case["map_bytes"])
    bitmap = IoBitmap(bytes(raw), 0x68, 0x68 + len(raw) - 1)
    ((first, last),) = bitmap.allowed
    flips = ((at, bit) for at in range(len(raw)) for bit in range(8))

    def denies(at: int, bit: int) -> bool:
        changed = bytearray(raw)
        changed[at] = 1 << bit
        return replace(bitmap, raw=bytes(changed)).refusal(port, 1) == "bit-set"

    ((byte_index, bit),) = [(at, bit) for at, bit in flips if denies(at, bit)]
    return {
        f"port_{port:#x}": {"byte_index": byte_index, "bit": bit},
        "limit_example": {"map_bytes": len(raw), "ports_mapped": last - first + 1},
    }


def tss286(case: Facts) -> Facts:
    size = MINIMUM_LIMIT[case["tss_bits"]] + 1
    tss = decode_tss(bytes(size), case["tss_bits"], size - 1)
    assert tss.io.refusal(0, 1) == "no-bitmap"
    return {"tss16_size": size, "present": tss.io.present}


def stack_above_tss(case: Facts) -> Facts:
    (selector,) = found(r"tr:s=0x(\w+)", case["text"])
    (base,) = found(r"base=0x(\w+)", case["text"])
    esp0 = next(found(r"ss:esp\(0\): 0x0058:0x(\w+)", case["text"]))
    raw = bytes(4) + esp0.to_bytes(4, "little") + b"\x58" + bytes(95)
    tss = decode_tss(raw, 32, 0x67, base)
    return {
        "tr": selector_facts(selector),
        "esp0": tss.fields["esp0"],
        "tss_last_byte": tss.base + tss.limit,
        "findings": rules(check_tss(tss)),
    }


def cached_descriptors(case: Facts) -> Facts:
    pairs = {
        name: {"hi": f"0x{high}", "lo": f"0x{low}"} for name, high, low in _sreg_rows(case["text"])
    }
    (selector,) = found(r"tr:0x(\w+)", case["text"])
    tss = decode_descriptor(raw_descriptor(pairs["tr"]))
    assert isinstance(tss, SystemSegment)
    return {
        "tr": descriptor_facts(pairs["tr"]),
        "tr_selector": selector_facts(selector),
        "cs": descriptor_facts(pairs["cs"]),
    }


def _sreg_rows(text: str) -> list[tuple[str, str, str]]:
    rows = []
    for line in text.splitlines():
        if ", dh=0x" in line:
            name, _, rest = line.partition(":")
            high, low = rest.split("dh=0x")[1].split(", dl=0x")
            rows.append((name, high, low.partition(",")[0]))
    return rows


def missing_gate(case: Facts) -> Facts:
    *_, code = found(r"v=0b e=(\w+)", case["text"])
    pc = next(found(r" pc=(\w+)", case["text"]))
    facts = error_facts(code, 11)
    assert decode_gate(bytes(8)).kind == "empty"
    return {"error": facts, "vector": facts["index"], "pc_above_4g": pc > 0xFFFF_FFFF}


ANSWERS: dict[str, Answer] = {
    "025": software_interrupt,
    "031": missing_gate,
    "032": spurious_irq,
    "035": iret_errors,
    "037": fs_load,
    "039": null_ss0,
    "040": two_frames,
    "042": null_error,
    "050": five_bytes,
    "052": bitmap_beyond_limit,
    "054": whole_bitmap,
    "056": port_29h,
    "058": tss286,
    "059": stack_above_tss,
    "171": cached_descriptors,
}
