"""Which map to believe? The faithfulness half of `python -m capjax.evaluate`."""
