"""Tasks that the processor switches, each with a TSS in the GDT (SDM Vol. 3A, chapter 8)."""
