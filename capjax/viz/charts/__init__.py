"""Charts of numbers, drawn with Pillow alone."""
