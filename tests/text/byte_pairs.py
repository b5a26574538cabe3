"""A small byte-pair vocabulary, learnt by the tokenizers library."""

import functools

import tokenizers

from capjax.text.byte_pair import BytePair

CORPUS = [
    "a man riding a wave on top of a surfboard",
    "a woman in a red t-shirt is holding a dog's leash",
    "two dogs are running through the snow near a fire hydrant",
    "A man and a woman, standing in the snow.",
] * 3
END = "<|endoftext|>"


def train(size=330):
    """Pieces and merges that the library learns, with the end token last."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([END])
    return tokenizer


@functools.cache
def small_byte_pair():
    """331 pieces."""
    tokenizer = train()
    return BytePair.from_json(tokenizer.to_str(), eos=tokenizer.get_vocab_size() - 1)
