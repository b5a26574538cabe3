"""The loop of the faithfulness half of `python -m capjax.evaluate`, a batch of images at a time."""

import functools
import math
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.captions.records import Record
from capjax.data.inputs import file_inputs
from capjax.decoding import Greedy
from capjax.decoding.rules import MAX_TOKENS
from capjax.evaluate.faithfulness.batch import Batch
from capjax.evaluate.faithfulness.records import Kept
from capjax.evaluate.faithfulness.removal import measure_memory
from capjax.evaluate.faithfulness.request import Request
from capjax.evaluate.grounding import Fit
from capjax.evaluate.queries import Query
from capjax.explainers.batch import explain_memory
from capjax.explainers.wording import padded_sizes
from capjax.runtime.fingerprint import fingerprint
from capjax.types import Caption


def measure_images(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    queries: Sequence[Sequence[Query]],
    request: Request,
    *,
    fit: Fit,
    usable: float = math.inf,
    kept: Kept | None = None,
) -> list[dict[str, Any]]:
    """What was measured of every image, in order, as plain JSON values; see `Batch.measured`.

    Args:
      captioner, records, captions, request: what to score; captions are the captioner's own.
      queries: of `request`, from `faithfulness_queries`.
      fit: says how many images, and how many words, are done at once; changes no score.
      usable: bytes of each device's memory; see `explain_memory`.
      kept: where images are written as they are done; those there already are not done again,
        unless their file has changed.
    """
    pictures = {
        records[one[0].image].key: fingerprint(records[one[0].image].image).sha256
        for one in queries
    }
    done = {
        key: record
        for key, record in ({} if kept is None else kept.load()).items()
        if record["picture"] == pictures[key]
    }
    removed = {one[0].image for one in queries[: request.removals]}
    checked = {one[0].image for one in queries[: request.checks]}
    left = [one for one in queries if records[one[0].image].key not in done]
    if left:
        sentences = [[query.sentence for query in one] for one in queries]
        sizes = padded_sizes(sentences, narrow=True)

        def need(count: int) -> float:
            return max(
                explain_memory(
                    captioner,
                    min(count, len(left)),
                    methods=[one],
                    decoding=Greedy(),
                    max_len=MAX_TOKENS,
                    usable=usable,
                    sizes=sizes,
                    captioned=True,
                )
                for one in request.methods
            )

        batch_size = min(fit(len(left), need), len(left))  # no row only fills up
        plan = request.plan
        words = sum(len(query.sentence.words) for one in left for query in one)
        items = functools.partial(measure_memory, captioner, plan=plan, tokens=sizes.tokens)
        at_once = fit(words * len(request.methods), items)
        inputs = file_inputs([records[one[0].image] for one in left], captioner.preprocessing)
        compiled: set[tuple[int, ...]] = set()
        with tqdm(total=len(left), desc="faithfulness", unit="image", disable=None) as progress:
            batches = evaluation_batches(inputs, len(left), batch_size=batch_size)
            for number, loaded in enumerate(batches):
                here = left[number * batch_size : (number + 1) * batch_size]
                batch = Batch(
                    captioner,
                    loaded["image"],
                    here,
                    captions,
                    request,
                    width=sizes.tokens,
                    at_once=at_once,
                )
                measured = batch.measured(removed, checked, batch.shape in compiled)
                for one, found in zip(here, measured, strict=True):
                    key = records[one[0].image].key
                    record = {"image": key, "picture": pictures[key], **found}
                    done[key] = record
                    if kept is not None:
                        kept.add(record)
                compiled.add(batch.shape)
                progress.update(len(here))
    return [done[records[one[0].image].key] for one in queries]
