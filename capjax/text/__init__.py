"""Words and sentences: tokenizers, vocabularies, and encoders of sentences."""
