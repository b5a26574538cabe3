"""What each word loses where something is taken away from the picture."""
