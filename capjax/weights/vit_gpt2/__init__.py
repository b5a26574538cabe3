"""ViT-GPT2 as transformers saves it."""
