"""How events of KLOS are recorded: through its event core, past it, and from its own ring."""
