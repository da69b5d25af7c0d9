"""The decoders' inverse, written from the manual: decoded fields back to raw bytes.

Each function takes the fields of a decoded model as JSON carries them, without ``raw``. It places
every field by the byte and bit that the SDM's figures give it, and shares no code with klosdbg.
"""

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]

_TYPE = {
    ("ldt", 0): 2,
    ("tss16", 16): 1,
    ("tss32", 32): 9,
    ("tss64", 64): 9,
    ("call-gate", 16): 4,
    ("call-gate", 32): 12,
    ("call-gate", 64): 12,
    ("task-gate", 0): 5,
    ("interrupt-gate", 16): 6,
    ("interrupt-gate", 32): 14,
    ("interrupt-gate", 64): 14,
    ("trap-gate", 16): 7,
    ("trap-gate", 32): 15,
    ("trap-gate", 64): 15,
}


def encode_descriptor(fields: Fields, size: int) -> bytes:
    """Rebuild the ``size`` bytes (8 or 16) of a descriptor or gate."""
    kind = fields["kind"]
    if kind == "empty":
        return bytes(size)
    if kind == "reserved":
        return _reserved(fields, size)
    if kind.endswith("gate"):
        return _gate(fields, size)
    return _segment(fields, size)


def _access(fields: Fields, s: int, descriptor_type: int) -> int:
    return int(fields["present"]) * 128 + fields["dpl"] * 32 + s * 16 + descriptor_type


def _segment_type(fields: Fields) -> int:
    if fields["kind"] == "code":
        flags = 8 + 4 * fields["conforming"] + 2 * fields["readable"]
    else:
        flags = 4 * fields["expand_down"] + 2 * fields["writable"]
    return int(flags + fields["accessed"])


def _segment(fields: Fields, size: int) -> bytes:
    s = int(fields["kind"] in ("code", "data"))
    if s:
        descriptor_type = _segment_type(fields)
    else:
        descriptor_type = _TYPE[fields["kind"], fields.get("bits", 0)]
        descriptor_type += 2 * bool(fields.get("busy"))
    base = fields["base"].to_bytes(8, "little")
    limit = fields["limit"].to_bytes(3, "little")
    flags = 8 * fields["g"] + 4 * fields["db"] + 2 * fields["l"] + fields["avl"]
    low = bytes(
        (
            limit[0],
            limit[1],
            base[0],
            base[1],
            base[2],
            _access(fields, s, descriptor_type),
            flags * 16 + limit[2],
            base[3],
        )
    )
    return low + _upper(base[4:], fields, size)


def _gate(fields: Fields, size: int) -> bytes:
    offset = fields["offset"].to_bytes(8, "little")
    selector = fields["target_selector"].to_bytes(2, "little")
    descriptor_type = _TYPE[fields["kind"], fields["bits"]]
    middle = fields["low5"] + fields["high3"] * 32
    end = fields["unused"].to_bytes(2, "little") if fields["bits"] == 16 else offset[2:4]
    access = _access(fields, 0, descriptor_type)
    low = offset[:2] + selector + bytes((middle, access)) + end
    return low + _upper(offset[4:], fields, size)


def _upper(address: bytes, fields: Fields, size: int) -> bytes:
    if size == 8:
        return b""
    return bytes(address) + int(fields["reserved"]).to_bytes(4, "little")


def _reserved(fields: Fields, size: int) -> bytes:
    low = fields["low"].to_bytes(5, "little")
    access = _access(fields, int(fields["s"]), fields["type"])
    raw = low + bytes((access,)) + fields["high"].to_bytes(2, "little")
    return raw + (fields["upper"].to_bytes(8, "little") if size == 16 else b"")


_TSS16 = [
    "back_link",
    "sp0",
    "ss0",
    "sp1",
    "ss1",
    "sp2",
    "ss2",
    "ip",
    "flags",
    "ax",
    "cx",
    "dx",
    "bx",
    "sp",
    "bp",
    "si",
    "di",
    "es",
    "cs",
    "ss",
    "ds",
    "ldt",
]
_TSS32 = [
    "back_link",
    "esp0",
    "ss0",
    "esp1",
    "ss1",
    "esp2",
    "ss2",
    "cr3",
    "eip",
    "eflags",
    "eax",
    "ecx",
    "edx",
    "ebx",
    "esp",
    "ebp",
    "esi",
    "edi",
    "es",
    "cs",
    "ss",
    "ds",
    "fs",
    "gs",
    "ldt",
]


def encode_tss(fields: Fields, bits: int) -> bytes:
    """Rebuild a TSS from its named fields; what the manual reserves is 0."""
    if bits == 16:
        return b"".join(fields[name].to_bytes(2, "little") for name in _TSS16)
    tail = (fields.get("t") or 0).to_bytes(2, "little") + fields["iomap_base"].to_bytes(2, "little")
    if bits == 32:
        return b"".join(fields[name].to_bytes(4, "little") for name in _TSS32) + tail
    stacks = b"".join(fields[f"rsp{n}"].to_bytes(8, "little") for n in range(3))
    tables = b"".join(fields[f"ist{n}"].to_bytes(8, "little") for n in range(1, 8))
    return bytes(4) + stacks + bytes(8) + tables + bytes(8) + tail


def encode_iobitmap(allowed: list[tuple[int, int]], size: int) -> bytes:
    """Rebuild the ``size`` bytes of a bitmap that allows these port ranges, and no others."""
    ports = {port for first, last in allowed for port in range(first, last + 1)}
    return bytes(sum(1 << n for n in range(8) if at * 8 + n not in ports) for at in range(size))


def encode_error_code(fields: Fields, form: str) -> int:
    """Rebuild an error code from the fields of its form."""
    places = {
        "selector": {"ext": 0, "idt": 1, "ti": 2, "index": 3},
        "page-fault": {
            "p": 0,
            "w": 1,
            "u": 2,
            "rsvd": 3,
            "i": 4,
            "pk": 5,
            "ss": 6,
            "hlat": 7,
            "sgx": 15,
        },
        "control-protection": {"cpec": 0, "encl": 15},
    }
    return sum(int(fields[name]) << at for name, at in places.get(form, {}).items())


def encode_selector(fields: Fields) -> int:
    """Rebuild a selector."""
    return int(fields["index"] * 8 + fields["ti"] * 4 + fields["rpl"])


def encode_pte(fields: Fields) -> int:
    """Rebuild a paging entry from its flags and its frame."""
    flags = ["present", "writable", "user", "pwt", "pcd", "accessed", "dirty", "bit7", "global"]
    low = sum(bool(fields[name]) << at for at, name in enumerate(flags)) + fields["avl"] * 512
    high = fields["high_avl"] * 2**52 + fields["protection_key"] * 2**59
    return int(low + int(fields["frame"], 16) + high + bool(fields["nx"]) * 2**63)
