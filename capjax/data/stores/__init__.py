"""Images by name, wherever they lie."""
