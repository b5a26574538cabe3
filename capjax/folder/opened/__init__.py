"""Results read back: what `capjax.open_results` gives."""
