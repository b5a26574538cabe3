"""Training images that cannot be decoded: what stands in, who counts, and when it is too many."""

import dataclasses

import numpy as np
import pytest

from capjax.data.batches.pipeline import CaptionSamples, Loading, Share, training_batches
from capjax.data.batches.unreadable import RequiredInputs, TolerantInputs, problem_of, refuse_more
from capjax.data.cache.feature_cache import Rendered
from capjax.data.cache.feature_writer import build_cache
from capjax.data.inputs import FeatureInputs
from capjax.data.pictures.images import UnreadableFileError
from capjax.experiment.unreadable import UnreadableImages
from capjax.text.vocabulary import Vocabulary

IMAGES, BATCH = 12, 6
CAPTIONS = [[f"number {image}", f"it is {image} or so"] for image in range(IMAGES)]
VOCABULARY = Vocabulary.build(caption for own in CAPTIONS for caption in own)
SAMPLES = CaptionSamples.build(CAPTIONS, VOCABULARY)
BAD = (3, 4, 9)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Images that show their number; some cannot be read."""

    bad: tuple[int, ...] = BAD

    def __call__(self, numbers):
        for number in numbers:
            if number in self.bad:
                raise UnreadableFileError(f"cannot read image {number}.jpg: cut short")
        return {"image": np.asarray(numbers)[:, None, None, None].astype(np.uint8)}


def batches(inputs, count, *, share=Share(), **options):  # noqa: B008  frozen
    settings = {"batch_size": BATCH, "seed": 5, "share": share, "loading": Loading(threads=0)}
    stream = training_batches(SAMPLES, inputs, **{**settings, **options})
    return [next(stream) for _ in range(count)]


def test_the_next_readable_row_of_the_global_batch_stands_in():
    for wanted, batch in zip(batches(Numbers(()), 8), batches(Numbers(), 8), strict=True):
        assert (wanted["replaced"] == -1).all()
        for row, sample in enumerate(wanted["id"]):
            around = [wanted["id"][(row + shift) % BATCH] for shift in range(BATCH)]
            expected = next(each for each in around if SAMPLES.image[each] not in BAD)
            assert batch["id"][row] == expected
            assert batch["replaced"][row] == (-1 if expected == sample else sample)
            assert batch["image"][row, 0, 0, 0] == SAMPLES.image[expected]
            ids = SAMPLES.tokens[SAMPLES.starts[expected] : SAMPLES.starts[expected + 1]]
            assert batch["tokens"][row, : len(ids)].tolist() == ids.tolist()
            assert batch["lengths"][row] == len(ids)
        assert batch["tokens"].shape == wanted["tokens"].shape


@pytest.mark.parametrize("count", [2, 3])
def test_it_is_the_same_one_for_any_number_of_processes(count):
    whole = batches(Numbers(), 8)
    parts = [batches(Numbers(), 8, share=Share(index, count)) for index in range(count)]
    for step, batch in enumerate(whole):
        for name, array in batch.items():
            joined = np.concatenate([part[step][name] for part in parts])
            np.testing.assert_array_equal(joined, array)


def test_a_batch_without_a_readable_image_is_an_error():
    with pytest.raises(ValueError, match=r"no image of a whole batch can be read; first: .*\.jpg"):
        batches(Numbers(tuple(range(IMAGES))), 1)


def watched(share, caplog):
    names = [f"{number}.jpg" for number in range(IMAGES)]
    counted = UnreadableImages(Numbers(), SAMPLES.image, names, share=share)
    stream = training_batches(
        SAMPLES, Numbers(), batch_size=BATCH, seed=5, loading=Loading(threads=0)
    )
    caplog.set_level("WARNING", logger="absl")
    for _, batch in zip(range(8), counted.watch(stream, 0), strict=False):
        assert "replaced" not in batch
    return counted


def test_every_image_is_counted_and_named_once(caplog):
    counted = watched(0.25, caplog)
    assert sorted(counted.found) == list(BAD)
    assert counted.found[9] == "9.jpg: cannot read image 9.jpg: cut short"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert "(3 of 12 training images, 3 may be)" in warnings[-1]


def test_too_many_end_the_run_with_their_list(caplog):
    with pytest.raises(ValueError, match=r"3 of 12 .* and 2 may be") as stopped:
        watched(0.2, caplog)
    assert all(f"{number}.jpg" in str(stopped.value) for number in BAD)
    assert "--config.data.unreadable_share" in str(stopped.value)


def test_a_few_may_be():
    refuse_more(["a"], allowed=1, images=9)
    with pytest.raises(ValueError, match=r"(?s)2 of 9.*  a\n  b"):
        refuse_more(["a", "b"], allowed=1, images=9)


def test_tolerant_inputs_fill_rows_with_another_image():
    inputs = TolerantInputs(Numbers(), IMAGES)
    found = inputs(np.array([4, 5, 9]))
    assert found["readable"].tolist() == [False, True, False]
    assert found["image"][:, 0, 0, 0].tolist() == [5, 5, 5]
    alone = inputs(np.array([9]))
    assert alone["image"][0, 0, 0, 0] == 0 and not alone["readable"][0]
    with pytest.raises(UnreadableFileError, match="none of 2 images"):
        TolerantInputs(Numbers((0, 1)), 2)(np.array([1]))
    assert problem_of(Numbers(), 0) is None


def test_required_inputs_say_why_none_stands_in():
    inputs = RequiredInputs(Numbers())
    np.testing.assert_array_equal(inputs(np.array([0, 1]))["image"].ravel(), [0, 1])
    with pytest.raises(UnreadableFileError, match=r"image 4\.jpg.*an image to validate on"):
        inputs(np.array([1, 4]))


def cache(folder, unreadable):
    return build_cache(
        folder,
        [Rendered(f"{number}.jpg") for number in range(IMAGES)],
        lambda images: np.repeat(images.astype(np.float32), 2, axis=2),
        inputs=Numbers(),
        describe={},
        batch_size=5,
        loading=Loading(threads=0),
        unreadable=unreadable,
    )


def test_features_of_unreadable_images_are_none(tmp_path):
    features = FeatureInputs(cache(tmp_path / "cache", 3), np.arange(IMAGES))
    good = [number for number in range(IMAGES) if number not in BAD]
    assert features(np.array(good))["features"][:, 0, 0, 0].tolist() == good
    with pytest.raises(UnreadableFileError, match=r"9\.jpg could not be decoded when the features"):
        features(np.array([0, 9]))
    for plain, cached in zip(batches(Numbers(), 8), batches(features, 8), strict=True):
        np.testing.assert_array_equal(plain["id"], cached["id"])
        np.testing.assert_array_equal(plain["replaced"], cached["replaced"])


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_cache_of_too_many_unreadable_images_is_refused(tmp_path, allowed):
    with pytest.raises(ValueError, match=r"3\.jpg" if allowed == 0 else r"3 of 12 .*2 may be"):
        cache(tmp_path / "cache", allowed)
    assert not (tmp_path / "cache").exists()
