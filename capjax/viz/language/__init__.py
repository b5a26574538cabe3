"""How much of a word is the image's, and what it owes to the words before it, as people read it."""
