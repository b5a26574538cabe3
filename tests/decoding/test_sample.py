"""Sampling against NumPy's supports, exact frequencies, greedy decoding and its own batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.decoding import Decoded, Greedy, Method, Sample
from tests.decoding.toys import EOS, Chain, Toy, run, toy_step


def keys(ids: list[int], seed: int = 0) -> jax.Array:
    return rng.per_example(jax.random.key(seed), jnp.asarray(ids))


def sample(toy: Toy, method: Method, ids: list[int], *, max_len=6, seed=0, suppress=()) -> Decoded:
    """Captions of the examples with these ids."""
    return run(toy, method, ids, max_len=max_len, keys=keys(ids, seed), suppress=suppress)


def support(probability: np.ndarray, top_k: int, top_p: float) -> set[int]:
    """Ids that may be drawn, written out: sort, cut at k, renormalise, stop once p is reached."""
    order = sorted(range(len(probability)), key=lambda token: (-probability[token], token))
    order = order[: top_k or len(order)]
    total = sum(probability[token] for token in order)
    kept, mass = set(), 0.0
    for token in order:
        if mass >= top_p:
            break
        kept.add(token)
        mass += probability[token] / total
    return kept


@pytest.mark.parametrize(
    "top_k, top_p", [(0, 0.55), (3, 1.0), (5, 0.8), (50, 0.9), (0, 1e-6), (1, 1.0)]
)
def test_support_is_exact(top_k: int, top_p: float) -> None:
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(size=12)
        logits[[2, 7]] = logits[4]  # ties
        probability = np.exp(logits) / np.exp(logits).sum()
        method = Sample(top_k=top_k, top_p=top_p)
        kept, ids = method.truncate(jnp.asarray(logits, jnp.float32))
        found = {int(token) for token, value in zip(ids, kept, strict=True) if value > -np.inf}
        assert found == support(probability, top_k, top_p)


@pytest.mark.parametrize(
    "method",
    [Sample(), Sample(temperature=0.6), Sample(top_k=2), Sample(top_p=0.7, temperature=1.5)],
)
def test_frequencies(method: Sample) -> None:
    """Every frequency of the first word within four standard deviations of its probability."""
    count, first = 4000, [0.5, 0.3, 0.15, 0.05]
    chain = Chain(first, {})
    several = Sample(method.temperature, method.top_k, method.top_p, count=count)
    drawn = chain.run(several, 1, eos=EOS, max_len=1, keys=keys([3]))
    tempered = np.array(first) ** (1 / method.temperature)
    tempered /= tempered.sum()
    kept = support(tempered, method.top_k, method.top_p)
    expected = np.array([p if token in kept else 0.0 for token, p in enumerate(tempered)])
    expected /= expected.sum()
    found = np.bincount(np.asarray(drawn.tokens)[0, :, 0], minlength=4) / count
    assert (np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / count)).all()
    # The log-probability is the model's own, whatever the draw was truncated to.
    np.testing.assert_allclose(
        drawn.log_probs[0, :, 0], np.log(first)[np.asarray(drawn.tokens)[0, :, 0]], atol=1e-6
    )


def test_top_one_is_greedy() -> None:
    toy, seeds = Toy(1, size=7, sharpness=1.0), [3, 4, 5]
    sampled = sample(toy, Sample(top_k=1, temperature=3.0), seeds)
    greedy = sample(toy, Greedy(), seeds)
    jax.tree.map(np.testing.assert_array_equal, sampled, greedy)


SEVERAL = Sample(count=6, top_p=0.95)


def test_a_draw_belongs_to_its_example() -> None:
    """Other members of the batch, their number and order, and `max_len` change nothing."""
    toy, ids = Toy(1, size=7, sharpness=0.5), [3, 4, 5, 6]
    together = sample(toy, SEVERAL, ids)
    for others in ([5], [6, 5, 9, 4]):
        other = sample(toy, SEVERAL, others)
        row = others.index(5)
        np.testing.assert_array_equal(other.tokens[row], together.tokens[2])
        np.testing.assert_allclose(other.log_probs[row], together.log_probs[2], atol=1e-6)
    longer = sample(toy, Sample(), [5], max_len=6)
    shorter = sample(toy, Sample(), [5], max_len=4)
    np.testing.assert_array_equal(longer.tokens[:, :, :4], shorter.tokens)


def test_samples_of_an_image_differ_and_come_likeliest_first() -> None:
    toy, ids = Toy(1, size=7, sharpness=0.5), [3, 4, 5, 6]
    decoded = sample(toy, SEVERAL, ids)
    assert len({tuple(tokens) for tokens in decoded.tokens[0]}) > 4
    assert (np.diff(decoded.scores, axis=1) <= 0).all()
    np.testing.assert_allclose(decoded.scores, decoded.log_probs.sum(-1), atol=1e-5)
    other = sample(toy, SEVERAL, ids, seed=1)
    assert not np.array_equal(decoded.tokens, other.tokens)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_every_draw_is_written_as_if_it_were_alone(count: int) -> None:
    """Places that captions leave are given up on the way: each is still drawn word by word."""
    toy, ids, max_len = Toy(5, size=7, sharpness=1.0), [3, 4, 5], 9
    decoded = sample(toy, Sample(count=count), ids, max_len=max_len)
    lengths = set()
    for row, (state, key) in enumerate(zip(toy.start(ids), keys(ids), strict=True)):
        alone = []
        for number in range(count):
            own, words = jax.random.fold_in(key, number), ()
            while len(words) < max_len and EOS not in words:
                logits = jnp.asarray(toy.log_probs(state, words)[-1], jnp.float32)
                draw = jax.random.categorical(jax.random.fold_in(own, len(words)), logits)
                words = (*words, int(draw))
            alone.append(words)
        alone.sort(key=lambda words: -toy.rescore(state, words).sum())
        lengths.update(map(len, alone))
        found = [
            tuple(tokens[:length])
            for tokens, length in zip(decoded.tokens[row], decoded.lengths[row], strict=True)
        ]
        assert found == alone
        assert [words[-1] == EOS for words in found] == decoded.finished[row].tolist()
    assert count == 1 or len(lengths) > 2, "captions should end at several lengths"


def test_lengths_ends_and_log_probs() -> None:
    toy, ids = Toy(4, size=7, sharpness=1.0), [31, 32, 33, 34]
    decoded = sample(toy, SEVERAL, ids, suppress=(2,))
    assert not (np.arange(6) < decoded.lengths[..., None])[decoded.tokens == 2].any()
    for row, state in enumerate(toy.start(ids)):
        for place in range(6):
            length = decoded.lengths[row, place]
            words = tuple(int(token) for token in decoded.tokens[row, place, :length])
            assert decoded.finished[row, place] == (words[-1] == EOS)
            assert EOS not in words[:-1]
            own = decoded.log_probs[row, place]
            np.testing.assert_allclose(
                own[:length], toy.rescore(state, words), rtol=1e-4, atol=1e-5
            )
            assert not own[length:].any()


def test_wrong_settings_are_refused() -> None:
    for options, message in [
        ({"temperature": 0.0}, "use Greedy"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"count": 0}, "count=0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Sample(**options)
    toy = Toy(0)
    for wrong in (None, keys([1, 2])):
        with pytest.raises(ValueError, match="one key for each of the 1 examples"):
            Sample().decode(toy_step, toy.carry([1]), batch=1, eos=0, max_len=3, keys=wrong)
