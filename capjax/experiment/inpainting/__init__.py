"""An inpainter from its settings to a trained one: the wiring under `train.py` for fills."""
