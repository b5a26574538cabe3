"""Ways to fill a hole; `contract` says what one is, `named` which there are."""
