"""What an event is: the model, its JSON, expressions and filters over it, other programs' forms."""
