"""The order of samples, and batches of them."""
