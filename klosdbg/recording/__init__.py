"""How events come: where stubs and handlers are, and the recorders that watch them."""
