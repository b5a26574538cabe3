"""Beam search by transformers' rule: the same tokens as transformers, and invariants."""

import functools

import jax
import numpy as np
import pytest

from capjax.captioner import token_log_probs
from capjax.decoding import Greedy, HuggingFaceBeam, generate
from tests import compiled
from tests.decoding.toys import EOS, Chain, Toy, every_caption, run
from tests.golden import vit_gpt2_outputs as golden
from tests.reference import small_vit_gpt2

SEEDS = [11, 12, 13]
NEW_TOKENS = golden.MAX_LENGTH - 1
METHODS = {
    "greedy": Greedy(),
    "beam4": HuggingFaceBeam(4),
    "beam3_sum": HuggingFaceBeam(3, length_penalty=0.0),
    "beam4_long": HuggingFaceBeam(4, length_penalty=2.0),
    "beam4_short": HuggingFaceBeam(4, length_penalty=-1.0),
    "beam2_early": HuggingFaceBeam(2, early_stopping=True),
    "beam5_never": HuggingFaceBeam(5, early_stopping="never"),
}


@pytest.fixture(scope="module")
def models():
    """The net, variables of each model and what it sees of the images, what transformers wrote."""
    net, _ = small_vit_gpt2.make_net()
    variables = [
        small_vit_gpt2.fit(net, small_vit_gpt2.source(seed)) for seed in range(golden.MODELS)
    ]
    seen = [see(net, own, golden.seeded_images()) for own in variables]
    with np.load(golden.OUTPUTS) as stored:
        return net, list(zip(variables, seen, strict=True)), dict(stored)


def see(net, variables, images):
    return compiled.apply(net, variables, images, method="encode")


@functools.partial(jax.jit, static_argnames=("net", "method", "max_len"))
def say(net, variables, features, method, max_len=NEW_TOKENS):
    return generate(net, variables, features, method, eos=golden.END, max_len=max_len)


@pytest.mark.parametrize("name", METHODS)
def test_the_tokens_of_transformers(models, name):
    net, each, stored = models
    ended = lasted = 0
    for seed, (variables, features) in enumerate(each):
        decoded = say(net, variables, features, METHODS[name])
        tokens, lengths = np.asarray(decoded.tokens[:, 0]), np.asarray(decoded.lengths[:, 0])
        expected = stored[f"{seed}_{name}"]
        for row in range(golden.IMAGES):
            same = np.where(np.arange(NEW_TOKENS) < lengths[row], tokens[row], golden.END)
            np.testing.assert_array_equal(same, expected[row], err_msg=f"model {seed}, image {row}")
        if name != golden.GREEDY:
            theirs = stored[f"{seed}_{name}_scores"]
            np.testing.assert_allclose(decoded.scores[:, 0], theirs, rtol=1e-4, atol=1e-5)
        ended += int(np.sum(decoded.finished[:, 0]))
        lasted += int(np.sum(~decoded.finished[:, 0]))
    assert ended > 10 and (lasted > 10 or name in ("beam4_short", "beam3_sum"))


def test_one_by_one_the_same_captions_as_in_a_batch(models):
    net, each, _ = models
    images = golden.seeded_images()
    variables, features = each[4]
    together = say(net, variables, features, METHODS["beam4"])
    for row in range(6):
        own = see(net, variables, images[row : row + 1])
        alone = say(net, variables, own, METHODS["beam4"])
        for one, batch in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(one[0], batch[row], atol=1e-5)


def test_log_probs_are_those_of_full_recomputation(models):
    """Nothing is cached in teacher forcing; a cache that followed the wrong parent would differ."""
    net, each, _ = models
    variables, features = each[2]
    decoded = say(net, variables, features, METHODS["beam4"])
    force = jax.jit(functools.partial(token_log_probs, net))
    for place in range(4):
        tokens, lengths = decoded.tokens[:, place], np.asarray(decoded.lengths[:, place])
        forced = np.asarray(force(variables, features, tokens))
        inside = np.arange(NEW_TOKENS)[None] < lengths[:, None]
        np.testing.assert_allclose(
            np.asarray(decoded.log_probs[:, place])[inside], forced[inside], rtol=1e-4, atol=1e-5
        )
        total = np.where(inside, forced, 0.0).sum(1) / np.maximum(lengths, 1)
        np.testing.assert_allclose(decoded.scores[:, place], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_full_width_finds_the_best_caption(seed, penalty):
    toy, max_len = Toy(seed), 3
    method = HuggingFaceBeam(64, length_penalty=penalty, early_stopping="never")
    decoded = run(toy, method, SEEDS, max_len=max_len)
    for row, state in enumerate(toy.start(SEEDS)):
        scores = {
            words: toy.rescore(state, words).sum() / len(words) ** penalty
            for words in every_caption(4, max_len)
        }
        best = sorted(scores, key=lambda words: -scores[words])
        count = int((decoded.lengths[row] > 0).sum())
        assert count == len(best)
        found = [
            tuple(int(t) for t in decoded.tokens[row, place, : decoded.lengths[row, place]])
            for place in range(count)
        ]
        assert found == best
        np.testing.assert_allclose(decoded.scores[row, 0], scores[best[0]], atol=1e-5)
        assert decoded.finished[row, :count].tolist() == [w[-1] == EOS for w in best]
        assert np.isneginf(decoded.scores[row, count:]).all()
        assert not decoded.tokens[row, count:].any()


def test_suppressed_ids_are_never_written():
    toy = Toy(3, size=6, sharpness=1.0)
    decoded = run(toy, HuggingFaceBeam(3), SEEDS, max_len=6, suppress=(3, EOS))
    assert not np.isin(decoded.tokens[decoded.lengths > 0], [3]).any()
    assert not decoded.finished.any() and (decoded.lengths == 6).all()


def test_what_a_length_counts():
    """Two captions with log p of 1 and 2 tokens whose order depends on the length."""
    # (0) has log 0.5; (1, 0) has log (0.5 * 0.7): mean of the generated tokens decides for it.
    chain = Chain([0.5, 0.5], {1: [0.7, 0.3]})
    scores = {}
    for counts in ("generated", "words", "start_and_words"):
        method = HuggingFaceBeam(2, counts=counts)
        decoded = chain.run(method, 1, eos=0, max_len=4)
        words = {
            tuple(decoded.tokens[0, k, : decoded.lengths[0, k]].tolist()): float(
                decoded.scores[0, k]
            )
            for k in range(2)
        }
        scores[counts] = words[(1, 0)]
    total = np.log(0.35)
    np.testing.assert_allclose(scores["generated"], total / 2, rtol=1e-5)
    np.testing.assert_allclose(scores["words"], total, rtol=1e-5)
    np.testing.assert_allclose(scores["start_and_words"], total / 2, rtol=1e-5)


def test_refuses_settings_without_meaning():
    with pytest.raises(ValueError, match="width=0"):
        HuggingFaceBeam(0)
    with pytest.raises(ValueError, match="unknown early_stopping 'always'; choose True"):
        HuggingFaceBeam(early_stopping="always")
    with pytest.raises(ValueError, match="unknown counts 'letters'; choose"):
        HuggingFaceBeam(counts="letters")
