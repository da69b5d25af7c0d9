"""Bytes to records: RSP, ``info registers`` text, ELF symbols, captures."""
