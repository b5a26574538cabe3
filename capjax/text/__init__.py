"""Words: the tokenizer that vocabulary and metrics share, the vocabulary, GloVe vectors."""
