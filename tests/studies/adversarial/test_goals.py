"""Losses of goals against NumPy's loops, and when captions count."""

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.studies.adversarial.goals import GATE, Goal, goal_loss, reached

DRAW = np.random.default_rng(2)
LOGITS = DRAW.normal(0, 2, (2, 4, 6)).astype(np.float32)
TOKENS = np.array([[2, 3, 0, 5], [1, 4, 3, 0]], np.int32)
LENGTHS = np.array([3, 4], np.int32)
UNSEEN = (5,)


def ahead(row, place, word):
    """max of the other logits that may be written, less that of the word."""
    others = [LOGITS[row, place, k] for k in range(6) if k != word and k not in UNSEEN]
    return max(others) - LOGITS[row, place, word]


def found(goal, loss="margin", logits=LOGITS):
    asked = {"loss": loss, "confidence": 1.0, "suppress": UNSEEN}
    return np.asarray(goal_loss(jnp.asarray(logits), goal, **asked))


@pytest.mark.parametrize(("kind", "sign"), [("caption", 1), ("untargeted", -1)])
def test_captions(kind, sign):
    goal = Goal.of(kind, TOKENS, LENGTHS)
    pairs = [[(t, TOKENS[b, t]) for t in range(LENGTHS[b])] for b in range(2)]
    margins = [sum(max(-1, sign * ahead(b, *at)) for at in own) for b, own in enumerate(pairs)]
    np.testing.assert_allclose(found(goal), margins, rtol=1e-5)
    log_probs = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    sums = [-sign * sum(log_probs[b][at] for at in own) for b, own in enumerate(pairs)]
    np.testing.assert_allclose(found(goal, "log_prob"), sums, rtol=1e-5)


def test_keywords_do_not_compete_for_one_place():
    keywords = np.array([[4, 1], [2, -1]], np.int32)
    goal = Goal.of("keywords", TOKENS, LENGTHS, keywords)
    free = LOGITS.copy()
    free[0, :, [1, 4]] -= 9  # no keyword is said anywhere: no gate
    logits = free.copy()
    logits[0, 1, 4] += 30  # keyword 4 is said at place 1, and 1 would be likeliest there
    logits[0, 1, 1] += 29
    own = [
        min(max(-1, max(np.delete(logits[0, t], [w, 5])) - logits[0, t, w]) + gate(t, w)
            for t in range(3))
        for w, gate in ((4, lambda t, w: 0), (1, lambda t, w: GATE * (t == 1)))
    ]  # fmt: skip
    other = min(max(-1, ahead(1, t, 2)) for t in range(4))
    np.testing.assert_allclose(found(goal, logits=logits), [sum(own), other], rtol=1e-5)
    without = Goal.of("without", TOKENS, LENGTHS, keywords)
    worst = [max(max(-1, -ahead(1, t, 2)) for t in range(4))]
    np.testing.assert_allclose(found(without)[1:], worst, rtol=1e-5)


def test_when_captions_count():
    written = np.array([[2, 3, 0, 9, 9], [4, 1, 2, 0, 9]], np.int32)
    lengths = np.array([3, 4], np.int32)

    def counts(kind, tokens=TOKENS, keywords=None):
        goal = Goal.of(kind, tokens, LENGTHS, None if keywords is None else np.array(keywords))
        return reached(goal, jnp.asarray(written), jnp.asarray(lengths), 0).tolist()

    assert counts("caption") == [True, False]
    assert counts("untargeted") == [False, True]
    # Both words of the first caption are keywords: no strict subset. The end is no word.
    assert counts("keywords", keywords=[[2, 3], [1, 2]]) == [False, True]
    assert counts("keywords", keywords=[[2, -1], [1, 5]]) == [True, False]
    assert counts("without", keywords=[[9, -1], [5, 1]]) == [True, False]
    with pytest.raises(ValueError, match="needs keywords"):
        counts("without")
    with pytest.raises(ValueError, match="takes no keywords"):
        counts("caption", keywords=[[1], [1]])
