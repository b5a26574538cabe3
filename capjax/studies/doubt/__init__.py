"""Which words of a caption not to believe: signals, their combination, and why."""
