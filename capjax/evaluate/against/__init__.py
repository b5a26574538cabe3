"""One captioner against another on the same images: `python -m capjax.evaluate --against=MODEL`."""
