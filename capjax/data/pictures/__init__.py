"""Images and clips as files and arrays, and how a model is shown them."""
