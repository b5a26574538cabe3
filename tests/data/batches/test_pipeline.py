"""Batches: the same for any number of processes, threads and workers, from any step on."""

import collections
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.data.batches.pipeline import (
    CaptionSamples,
    Loading,
    Share,
    evaluation_batches,
    training_batches,
)
from capjax.data.captions.records import Record
from capjax.data.inputs import file_inputs
from capjax.text.vocabulary import Vocabulary
from capjax.types import Preprocessing

WORDS = "red green blue dog cat bird runs sits sleeps near far".split()
RNG = np.random.default_rng(0)
CAPTIONS = [
    [" ".join(RNG.choice(WORDS, RNG.integers(1, 12))) for _ in range(RNG.integers(1, 5))]
    for _ in range(23)
]
VOCABULARY = Vocabulary.build(caption for captions in CAPTIONS for caption in captions)
SAMPLES = CaptionSamples.build(CAPTIONS, VOCABULARY)
ONE_THREAD = Loading(threads=0)


def numbers(images):
    """Inputs that only pass the number of the image on."""
    return {"image": np.asarray(images)[:, None, None, None].astype(np.uint8)}


def take(count, **options):
    batches = training_batches(
        SAMPLES, numbers, **{"batch_size": 8, "seed": 1, "loading": ONE_THREAD, **options}
    )
    return [next(batches) for _ in range(count)]


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
            assert one[name].dtype == other[name].dtype


def test_a_batch_is_what_it_says():
    pairs = [(image, caption) for image, own in enumerate(CAPTIONS) for caption in own]
    for batch in take(30):
        assert batch["tokens"].dtype == batch["lengths"].dtype == batch["id"].dtype == np.int32
        longest = batch["lengths"].max()
        assert longest <= batch["tokens"].shape[1] < longest + 4
        assert batch["tokens"].shape[1] % 4 == 0
        for row, sample in enumerate(batch["id"]):
            image, caption = pairs[sample]
            ids = VOCABULARY.encode(caption)
            assert batch["image"][row, 0, 0, 0] == image
            assert batch["lengths"][row] == len(ids)
            assert batch["tokens"][row].tolist() == ids + [0] * (
                batch["tokens"].shape[1] - len(ids)
            )


def test_every_caption_once_an_epoch():
    ids = np.concatenate([batch["id"] for batch in take(len(SAMPLES))])
    for epoch in ids.reshape(8, len(SAMPLES)):
        assert sorted(epoch) == list(range(len(SAMPLES)))


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("processes", [2, 4, 8])
def test_shares_make_up_the_global_batches(processes, group):
    whole = take(12, group_by_length=group)
    shares = [
        take(12, group_by_length=group, share=Share(index, processes)) for index in range(processes)
    ]
    joined = [
        {name: np.concatenate([share[step][name] for share in shares]) for name in batch}
        for step, batch in enumerate(whole)
    ]
    assert_same(joined, whole)


@pytest.mark.parametrize("group", [False, True])
def test_resume_needs_only_the_step(group):
    whole = take(40, group_by_length=group)
    for start in (1, 9, 33):
        assert_same(take(40 - start, start=start, group_by_length=group), whole[start:])


def test_threads_do_not_change_a_batch():
    assert_same(take(30, loading=Loading(threads=4, ahead=6)), take(30))


def test_stop_ends_the_batches():
    batches = training_batches(
        SAMPLES, numbers, batch_size=8, seed=1, start=3, stop=10, loading=ONE_THREAD
    )
    assert_same(list(batches), take(10)[3:])


def test_grouped_batches_are_narrow():
    widths = collections.Counter()
    for batch in take(50, group_by_length=True, length_multiple=1):
        assert batch["tokens"].shape[1] == batch["lengths"].max()
        widths[batch["lengths"].max() - batch["lengths"].min()] += 1
    assert widths[0] > 0 and sum(n for width, n in widths.items() if width > 2) < 10


def test_captions_without_words_are_left_out_and_long_ones_cut():
    samples = CaptionSamples.build(
        [["red dog", "..."], [], ["dog " * 30]], VOCABULARY, max_length=5
    )
    assert samples.image.tolist() == [0, 2]
    assert samples.lengths_of(np.array([0, 1])).tolist() == [3, 5]
    assert samples.tokens[-1] == VOCABULARY.eos
    with pytest.raises(ValueError, match="no captions to learn from"):
        CaptionSamples.build([["."], []], VOCABULARY)


def test_impossible_shares_are_named():
    with pytest.raises(ValueError, match="batch of 8 does not divide over 3 processes"):
        take(1, share=Share(0, 3))
    with pytest.raises(ValueError, match="process 2 of 2"):
        Share(2, 2)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_evaluation_sees_every_image_once_in_order(count, processes):
    shares = [
        list(
            evaluation_batches(
                numbers, count, batch_size=4, share=Share(index, processes), loading=ONE_THREAD
            )
        )
        for index in range(processes)
    ]
    seen = []
    for step in zip(*shares, strict=True):
        whole = {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        assert len(whole["mask"]) == 4
        np.testing.assert_array_equal(whole["image"][:, 0, 0, 0], whole["index"])
        seen += whole["index"][whole["mask"]].tolist()
    assert seen == list(range(count))


@pytest.fixture
def photographs(tmp_path):
    records = []
    for i in range(6):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (12 + i, 10), (40 * i, 0, 0)).save(path)
        records.append(Record(f"{i}.png", path, ("red dog", "blue cat"), "train", i))
    return records


def test_images_are_prepared_and_may_be_kept(photographs):
    preprocessing = Preprocessing(size=(8, 6))
    inputs = file_inputs(photographs, preprocessing, keep_bytes=2 * 8 * 6 * 3)
    images = inputs(np.array([3, 0, 3, 5]))["image"]
    assert images.shape == (4, 8, 6, 3) and images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == [120, 0, 120, 200]
    for record in photographs:
        record.image.unlink()
    np.testing.assert_array_equal(inputs(np.array([3, 0]))["image"], images[:2])
    with pytest.raises(ValueError, match=r"5\.png"):  # only two fitted
        inputs(np.array([5]))


def inputs_of(photographs):
    return file_inputs(photographs, Preprocessing(size=(8, 8)))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_replaced_in_training_and_named_in_evaluation(photographs, workers):
    photographs[4].image.write_bytes(b"broken")
    loading = Loading(workers=workers, threads=1)
    batches = training_batches(
        CaptionSamples.build([r.captions for r in photographs], VOCABULARY),
        inputs_of(photographs),
        batch_size=4,
        seed=0,
        loading=loading,
    )
    taken = [next(batches) for _ in range(3)]  # one epoch
    assert {8, 9}.isdisjoint(np.concatenate([batch["id"] for batch in taken]))
    replaced = np.concatenate([batch["replaced"] for batch in taken])
    assert sorted(replaced[replaced >= 0]) == [8, 9]
    with pytest.raises(ValueError, match=r"4\.png"):
        list(evaluation_batches(inputs_of(photographs), 6, batch_size=2, loading=loading))


SCRIPT = """
    import sys
    import numpy as np
    from absl import flags
    from capjax.data.inputs import file_inputs
    from capjax.data.batches.pipeline import CaptionSamples, Loading, training_batches
    from capjax.data.sources.sources import read_captions
    from capjax.text.vocabulary import Vocabulary
    from capjax.types import Preprocessing


    class Watched:
        # Tells, beside the images, whether this process has started an accelerator.
        def __init__(self, inputs):
            self.inputs = inputs

        def __call__(self, images):
            import os
            from jax._src import xla_bridge

            state = [os.getpid(), len(xla_bridge._backends)]
            return {**self.inputs(images), "state": np.array([state] * len(images))}


    def batches(workers):
        found = read_captions(sys.argv[1])
        captions = [record.captions for record in found]
        vocabulary = Vocabulary.build(c for own in captions for c in own)
        stream = training_batches(
            CaptionSamples.build(captions, vocabulary),
            Watched(file_inputs(found, Preprocessing(size=(8, 8)))),
            batch_size=4,
            seed=0,
            start=2,
            loading=Loading(workers=workers, threads=2),
        )
        return [next(stream) for _ in range(9)]


    if __name__ == "__main__":
        threads, processes = batches(0), batches(2)
        assert not flags.FLAGS.is_parsed()
        states = np.concatenate([batch.pop("state") for batch in processes])
        assert len(np.unique(states[:, 0])) == 2, states
        assert (states[:, 1] == 0).all(), states
        for one, other in zip(threads, processes):
            one.pop("state")
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
        print("equal")
"""


def test_worker_processes_load_the_same_batches(photographs, tmp_path):
    """In a program that parses no absl flags, and without an accelerator in the workers."""
    rows = [f'{r.key},"{caption}"' for r in photographs for caption in r.captions]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "captions.csv"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "equal"
