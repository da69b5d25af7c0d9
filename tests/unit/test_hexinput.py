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
]
DUMPS = {
    "bytes": "ff ff 00 00 00 9a cf 00",
    "hexdump -C": (
        "00000000  ff ff 00 00 00 9a cf 00                           |........|\n00000008\n"
    ),
    "xxd": "00000000: ffff 0000 009a cf00                      ........\n",
    "xxd -g1": "00000000: ff ff 00 00 00 9a cf 00                          ........\n",
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


@given(st.binary(min_size=1, max_size=64))
def test_bytes_come_back(raw: bytes) -> None:
    """However the bytes are written, they are the same bytes."""
    assert parse_hex(raw.hex(), as_bytes=True).joined == raw
    assert parse_hex(f"0x{raw[::-1].hex()}").joined == raw
    if len(raw) > 1:
        assert parse_hex(raw.hex(" ")).joined == raw
    assert parse_hex(f"0x1000: {raw.hex()}").joined == raw
