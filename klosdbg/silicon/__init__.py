"""Running the guest against the rules of hardware."""
