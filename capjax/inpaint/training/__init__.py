"""Training of the inpainter: its losses as a game of two, and the holes that it learns to fill."""
