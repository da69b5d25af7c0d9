"""Views of linear addresses as a paging mode splits them."""

from klosdbg.views.base import Style, columns, data, hex64, text
from klosdbg.views.decode import SIZES
from klosdbg.x86.address import WIDE, LinearAddress
from klosdbg.x86.paging import NAMES


@text.register
def _(model: LinearAddress, style: Style) -> str:
    digits = 16 if model.mode in WIDE else 8
    head = f"linear {style.address(model.raw, digits)}, {model.mode} paging"
    rows = [
        (NAMES[level], f"[{index}]", f"at table + {index * model.entry_size:#x}")
        for level, index in model.indices
    ]
    offsets = (f"{offset:#x} of {SIZES[size]}" for size, offset in model.offsets)
    return "\n".join(
        (
            head + _canonical(model),
            columns(rows, indent="  ", right="lr"),
            f"  offset {', '.join(offsets)}",
        )
    )


def _canonical(address: LinearAddress) -> str:
    if address.canonical is None:
        return ""
    if address.canonical_bits is None:
        return ": not canonical"
    if address.canonical_bits == 57:
        return ": canonical with 57 bits, not with 48"
    return ": canonical"


@data.register
def _(model: LinearAddress, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/address/1",
        "linear": hex64(model.raw),
        "mode": model.mode,
        "canonical": model.canonical,
        "canonical_bits": model.canonical_bits,
        "indices": [
            {
                "name": NAMES[level],
                "level": level,
                "index": index,
                "offset": index * model.entry_size,
            }
            for level, index in model.indices
        ],
        "offsets": [{"page_size": size, "offset": offset} for size, offset in model.offsets],
    }
