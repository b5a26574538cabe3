"""Training of two players, each with its own optimiser, in the loop that trains captioners."""
