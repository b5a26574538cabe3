"""How well fills restore what holes hide."""
