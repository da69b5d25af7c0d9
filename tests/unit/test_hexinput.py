"""Hexadecimal input as people write and paste it; whatever else ends in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.errors import KlosdbgError
from klosdbg.wire.hexinput import MAXIMUM, parse_hex

CODE = bytes.fromhex("ffff0000009acf00")

NUMBERS = [
    "00cf9a000000ffff",
    "0x00cf9a000000ffff",
    "0X00CF9A00_0000FFFF",
    "0x0000ffff 0x00cf9a00",
    "0000ffff, 00cf9a00",
    "ffff 0000 9a00 00cf",
    "{ 0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00 }",
    "00cf9a000000ffffh",
    "00cf9a00`0000ffff",
    "$0x00cf9a000000ffff",
    "0xFFFFu16, 0u16, 0x9a00u16, 0xcf_u16",
    "let gdt = [0x00cf_9a00_0000_ffff_u64];",
    "static const uint64_t gdt[1] = {\n    0x00cf9a000000ffffULL, // code\n};",
    "/* the\n code */ (0x00CF9A00'0000FFFFull)",
    "$1 = 0xcf9a000000ffff",
    "[0xff, 0xff, 0, 0, 0, 0b10011010, 0b1100_1111, 0]  # code",
    "unsigned char g[] = {\n  0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00\n};\n"
    "unsigned int g_len = 8;\n",
]
DATA_LINES = {
    "NASM": "dd 0x0000ffff\ndd 0x00cf9a00",
    "one line": "dd 0x0000ffff dd 0x00cf9a00",
    "a label": "code: dq 0x00cf9a000000ffff ; ring 0",
    "no colon": "gdt_code dw 0xffff, 0\n db 0, 10011010b, 11001111b, 0",
    "suffixes": "DW 0FFFFh, 0h\nDB 0, 9Ah, 207, 0d0",
    "decimal": "db 255, 255, 000, 0, 0, 154, 207, 0",
    "comments": "; gdt\nstart:\n  align 8\n  dw -1, 0 ; dw 1\n  dw 0x9a00 // x\n  dw 0xcf\nend:\n",
    "MASM": "gdt DWORD 0ffffh, 00cf9a00h\n",
    "GAS": "\t.align 8\ngdt:\n\t.quad 0x00cf9a000000ffff # code\n",
    "GAS words": ".word 0177777, 0; .byte 0, 0x9a, 0xcf, 0 /* code */",
    "GAS long": "gdt: .long 0xffff, 0x00cf9a00",
    "times": "times 2 db 0xff\ntimes 3 db 0\ndb 9ah, 0cfh, 0b0",
    "zeros": "dd 0xffff\ndb 00, 9ah, 0cfh, 00",
}
DUMPS = {
    "bytes": "ff ff 00 00 00 9a cf 00",
    "hexdump -C": (
        "00000000  ff ff 00 00 00 9a cf 00                           |........|\n00000008\n"
    ),
    "xxd": "00000000: ffff 0000 009a cf00                      ........\n",
    "xxd -g1": "00000000: ff ff 00 00 00 9a cf 00                          ........\n",
    "hexdump": "0000000 ffff 0000 9a00 00cf\n0000008\n",
    "od -t x4": "0000000 0000ffff 00cf9a00\n0000010\n",
    "od -t x8": "0000000 00cf9a000000ffff\n0000010\n",
    "od -t x1": "0000000 ff ff 00 00 00 9a cf 00\n0000010\n",
    "gdb x/8xb": "0x1000 <gdt+8>:\t0xff\t0xff\t0x00\t0x00\t0x00\t0x9a\t0xcf\t0x00\n",
    "gdb x/2xw": "0x1000 <gdt+8>:\t0x0000ffff\t0x00cf9a00\n",
    "gdb x/xg": "0x1000:\t0x00cf9a000000ffff\n",
    "QEMU xp": "0000000000001000: 0x0000ffff 0x00cf9a00\n",
    "wide columns": "0x000000000803cfc4:    0x0000ffff      0x00cf9a00\n",
    "klosdbg mem": "0x00101000  ff ff 00 00 00 9a cf 00                           ........\n",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers(text: str) -> None:
    """One token, a prefix, or words of one structure: most significant digit first."""
    given_hex = parse_hex(text)
    assert given_hex.order == "number"
    assert given_hex.structures(8, "it") == (CODE,)


@pytest.mark.parametrize("text", DATA_LINES.values(), ids=DATA_LINES)
def test_data_lines(text: str) -> None:
    """What an assembler lays down, it lays down in memory order, and says so."""
    given_hex = parse_hex(text)
    assert given_hex.structures(8, "it") == (CODE,)
    assert given_hex.reading == "bytes in memory order, from an assembler's data lines"


def test_bytes_that_look_like_directives() -> None:
    """0xdd and 0xdb are bytes as well."""
    for text in ("dd 00 00 00 00 9a cf 00", "db 00\n", "dd ff db 00", "dd, 00, db, 00"):
        assert parse_hex(text).raw[0] in (0xDD, 0xDB)


def test_reading() -> None:
    """How the input was read is said, in the words of who gave it."""
    assert parse_hex("0x1b").reading == "a number"
    assert parse_hex("0x1b 0x123").reading == "2 numbers"
    assert parse_hex("0000ffff 00cf9a00").reading == "2 numbers of 32 bits"
    assert parse_hex("1b 00").reading == "bytes in memory order"
    assert parse_hex("0x1000: 0x1b").reading == "bytes in memory order, from a dump"


@pytest.mark.parametrize("text", DUMPS.values(), ids=DUMPS)
def test_memory(text: str) -> None:
    """Two-digit tokens and dumps are bytes in memory order."""
    given_hex = parse_hex(text)
    assert given_hex.order == "memory"
    assert given_hex.structures(8, "it") == (CODE,)


def test_what_text_columns_hide() -> None:
    """Letters beside a dump that look like digits are not data."""
    full = "00000000: 6162 6364 6566 6162 6364 6566 6162 6364  abcdefabcdefabcd\n"
    assert parse_hex(full).raw == b"abcdefabcdefabcd"
    canonical = f"00000000  {'61 ' * 8} {'62 ' * 8} |aaaaaaaabbbbbbbb|\n"
    assert parse_hex(canonical).raw == b"a" * 8 + b"b" * 8
    own = f"0x00101000  {'61 ' * 8} {'62 ' * 8}aa aa aa bb bb bb\n"
    assert parse_hex(own).raw == b"a" * 8 + b"b" * 8


def test_several() -> None:
    """Several numbers are several structures; memory is cut."""
    assert parse_hex("0x1b 0x23").values(2, "it") == (0x1B, 0x23)
    assert parse_hex("1b 00 23 00").values(2, "it") == (0x1B, 0x23)
    assert parse_hex("0x0 0x00cf9a000000ffff").structures(8, "it") == (bytes(8), CODE)
    assert parse_hex(["ffff0000009acf00"], as_bytes=True).structures(8, "it") == (CODE,)


def test_long_mode_descriptors() -> None:
    """A system descriptor takes 16 bytes in long mode, a code segment 8."""
    tss = bytes.fromhex("6700000000890000 0100000000000000")
    assert parse_hex((CODE + tss).hex(" ")).long_descriptors() == (CODE, tss)
    assert parse_hex("0x0000890000000067").long_descriptors() == (tss[:8] + bytes(8),)
    assert parse_hex("0x10000890000000067").long_descriptors() == (tss,)
    assert parse_hex("0x0000890000000067 0x1").long_descriptors() == (tss,)
    assert parse_hex("0x0000ffff 0x00cf9a00").long_descriptors() == (CODE,)
    assert parse_hex("0x0 0x00cf9a000000ffff").long_table == bytes(8) + CODE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no hexadecimal digits"),
        ("  \n ", "no hexadecimal digits"),
        ("0x", "'0x' is not hexadecimal"),
        ("xyz", "'xyz' is not hexadecimal"),
        ("ff f", "'f' among bytes"),
        ("ff ffff", "'ffff' among bytes"),
        ("-1", "'-1' is not hexadecimal"),
        ("00000000: fff\n", "odd number of digits"),
        ("00000000: ffff\n*\n00000020\n", "repeated lines"),
        ("00000000: ffff\nnonsense here\n", "no line of the dump"),
        ("0x1b 23", "write 0x23, or 0x17 if decimal"),
        ("GDT=     00101000 0000001f", "'GDT=' is not hexadecimal"),
        ("dd gdt\ndd 0", "'gdt' is no number"),
        ("dw 0x12345", "too wide: dw has 2 bytes"),
        ("lgdt [x]\ndd 0", "'lgdt [x]' is no data line"),
        ("dd 0,", "'' is no number"),
        ("times 99999999 dd 0", "bytes of input"),
        (f"dd {'9' * 5000}", "is no number"),
        ("z" * 500, "'zzzzzzzzzzzzzzzzzzzz...'"),
        ("f" * (2 * MAXIMUM + 2), "bytes of input"),
    ],
)
def test_bad_input(text: str, message: str) -> None:
    """What cannot be read is named in one short line, and ends in exit code 2."""
    with pytest.raises(KlosdbgError) as caught:
        parse_hex(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 120
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["ff ff 00", "0x1ffffffffffffffff", "ff " * 9])
def test_wrong_size(text: str) -> None:
    """What is no whole number of structures is refused."""
    with pytest.raises(KlosdbgError, match="it has 8"):
        parse_hex(text).structures(8, "it")


def test_numbers_that_are_no_words() -> None:
    """Small numbers of several widths are neither descriptors nor words of one."""
    with pytest.raises(KlosdbgError, match="with all their digits"):
        parse_hex("0xffff 0x0 0x9a00 0xcf").structures(8, "it")


@given(st.text(max_size=80), st.booleans())
def test_total(text: str, as_bytes: bool) -> None:
    """Any text gives data or a one-line error."""
    message = ""
    try:
        given_hex = parse_hex(text, as_bytes)
        given_hex.structures(8, "it")
        given_hex.long_descriptors()
    except KlosdbgError as error:
        message = str(error)
    assert "\n" not in message


@given(
    st.lists(st.sampled_from(["dd", "dw ", ".long", "times", " 0x10", ",", ":", "\n", "ff", "-"]))
)
def test_data_lines_are_total(words: list[str]) -> None:
    """Whatever stands beside a directive, the same holds."""
    message = ""
    try:
        parse_hex(" ".join(words)).structures(8, "it")
    except KlosdbgError as error:
        message = str(error)
    assert "\n" not in message


@given(st.binary(min_size=1, max_size=64))
def test_bytes_come_back(raw: bytes) -> None:
    """However the bytes are written, they are the same bytes."""
    assert parse_hex(raw.hex(), as_bytes=True).joined == raw
    assert parse_hex(f"0x{raw[::-1].hex()}").joined == raw
    if len(raw) > 1:
        assert parse_hex(raw.hex(" ")).joined == raw
    assert parse_hex(f"0x1000: {raw.hex()}").joined == raw
