"""The pure core: decoders, checks, disassembly."""
