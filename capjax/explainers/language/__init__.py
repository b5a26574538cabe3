"""What of a word comes from the image, and what from the words before it: no maps, numbers."""
