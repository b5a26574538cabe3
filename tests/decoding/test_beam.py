"""Beam search against enumeration, a literal search, a golden table and greedy decoding."""

import jax
import numpy as np
import pytest

from capjax.decoding import Beam, Decoded, Greedy
from tests.decoding.toys import EOS, Chain, Toy, every_caption, literal_beam, run

SEEDS = [11, 12, 13]


def captions(decoded: Decoded, row: int) -> list[tuple[int, ...]]:
    """The hypotheses of one image as tuples, best first, empty places left out."""
    pairs = zip(decoded.tokens[row], decoded.lengths[row], strict=True)
    return [tuple(int(token) for token in tokens[:length]) for tokens, length in pairs if length]


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_full_width_lists_every_caption_in_order(seed: int, penalty: float) -> None:
    toy, max_len = Toy(seed), 3
    decoded = run(toy, Beam(width=4**max_len, length_penalty=penalty), SEEDS, max_len=max_len)
    for row, state in enumerate(toy.start(SEEDS)):
        scores = {
            words: toy.rescore(state, words).sum() / len(words) ** penalty
            for words in every_caption(4, max_len)
        }
        expected = sorted(scores, key=lambda words: -scores[words])
        assert captions(decoded, row) == expected
        np.testing.assert_allclose(
            decoded.scores[row, : len(expected)], [scores[words] for words in expected], atol=1e-5
        )
        assert decoded.finished[row, : len(expected)].tolist() == [w[-1] == EOS for w in expected]
        # 40 captions exist: the other places are empty, and come last.
        assert np.all(np.isneginf(decoded.scores[row, len(expected) :]))
        assert not decoded.lengths[row, len(expected) :].any()
        assert not decoded.finished[row, len(expected) :].any()


@pytest.mark.parametrize("width, penalty", [(1, 1.0), (2, 0.0), (3, 1.0), (8, 0.7)])
def test_same_hypotheses_as_a_literal_search(width: int, penalty: float) -> None:
    for seed in range(10):
        toy = Toy(seed, size=5, sharpness=1.0)
        decoded = run(toy, Beam(width=width, length_penalty=penalty), SEEDS, max_len=6)
        for row, state in enumerate(toy.start(SEEDS)):
            found = literal_beam(toy, state, width, 6)
            score = {w: toy.rescore(state, w).sum() / len(w) ** penalty for w in found}
            assert captions(decoded, row) == sorted(found, key=lambda words: -score[words])


def test_golden_table() -> None:
    """0 ends; the greedy path is worse than the second-best start."""
    chain = Chain([0.1, 0.5, 0.4], {1: [0.3, 0.35, 0.35], 2: [0.9, 0.05, 0.05]})
    best = {}
    for width in (1, 2, 3):
        method = Beam(width=width, length_penalty=0.0)
        decoded = chain.run(method, 1, eos=0, max_len=3)
        best[width] = (
            captions(decoded, 0)[0],
            float(decoded.scores[0, 0]),
        )
    assert best[1][0] == (1, 1, 1)  # after 1, words 1 and 2 tie: the lower id
    assert best[2][0] == best[3][0] == (2, 0)
    np.testing.assert_allclose(
        [-best[k][1] for k in (1, 2, 3)], [2.792791, 1.021651, 1.021651], atol=2e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_width_one_is_greedy(seed: int) -> None:
    toy = Toy(seed, size=6, sharpness=1.5)
    greedy = run(toy, Greedy(), SEEDS, max_len=7)
    beam = run(toy, Beam(width=1, length_penalty=0.0), SEEDS, max_len=7)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), greedy, beam)


@pytest.mark.parametrize("width", [1, 3])
def test_log_probs_follow_the_surviving_parent(width: int) -> None:
    for seed in range(6):
        toy = Toy(seed, size=6, sharpness=1.0)
        decoded = run(toy, Beam(width=width), SEEDS, max_len=6, suppress=(3,))
        for row, state in enumerate(toy.start(SEEDS)):
            for place, words in enumerate(captions(decoded, row)):
                assert 3 not in words
                own = decoded.log_probs[row, place]
                np.testing.assert_allclose(
                    own[: len(words)], toy.rescore(state, words), rtol=1e-4, atol=1e-5
                )
                assert not own[len(words) :].any()
                assert not decoded.tokens[row, place, len(words) :].any()
                np.testing.assert_allclose(
                    decoded.scores[row, place], own.sum() / len(words), rtol=1e-5
                )


def test_captions_without_an_end_are_returned_and_flagged() -> None:
    toy = Toy(5)
    decoded = run(toy, Beam(width=3), SEEDS, max_len=5, suppress=(EOS,))
    assert not decoded.finished.any()
    assert (decoded.lengths == 5).all()
    assert (decoded.tokens != EOS).all()
    assert np.isfinite(decoded.scores).all()
    assert (np.diff(decoded.scores, axis=1) <= 0).all()


def test_equal_captions_come_in_order_of_their_ids() -> None:
    chain = Chain([0.25] * 4, {word: [0.25] * 4 for word in range(4)})
    method = Beam(width=4, length_penalty=1.0)
    decoded = chain.run(method, 2, eos=3, max_len=3)
    # (3) ends at once and keeps a place; three live ones, then the three lowest children of (0).
    expected = [(3,), (0, 0, 0), (0, 0, 1), (0, 0, 2)]
    assert captions(decoded, 0) == captions(decoded, 1) == expected


def test_a_batch_is_its_examples_one_by_one() -> None:
    toy, seeds = Toy(2, size=6, sharpness=1.0), [21, 22, 23, 24, 25]
    together = run(toy, Beam(width=3), seeds, max_len=8)
    for row, seed in enumerate(seeds):
        alone = run(toy, Beam(width=3), [seed], max_len=8)
        assert captions(alone, 0) == captions(together, row)
        np.testing.assert_allclose(alone.log_probs[0], together.log_probs[row], atol=1e-5)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="width=0"):
        Beam(width=0)
    toy = Toy(0)
    with pytest.raises(ValueError, match="max_len=0"):
        run(toy, Beam(), SEEDS, max_len=0)
    with pytest.raises(ValueError, match="eos=-1"):
        run(toy, Greedy(), SEEDS, max_len=3, eos=-1)
    with pytest.raises(ValueError, match=r"ids \[4\] outside a vocabulary of 4"):
        run(toy, Beam(), SEEDS, max_len=3, suppress=(4,))
    with pytest.raises(ValueError, match="all 4 ids"):
        run(toy, Greedy(), SEEDS, max_len=3, suppress=(0, 1, 2, 3))
