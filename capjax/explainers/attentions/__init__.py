"""What attends to what: maps that are read from a network rather than computed of it."""
