"""How often captions name what is not there, and what tells which words do."""
