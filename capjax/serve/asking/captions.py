"""The question what a picture shows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capjax.api import pad_batch
from capjax.decoding.captions import candidate_batch
from capjax.explainers.programs import Watch
from capjax.serve.asking.served import Models
from capjax.serve.records import caption_record
from capjax.serve.uploads import Upload


@dataclasses.dataclass(frozen=True)
class Captions:
    """The caption of each picture, and the others that the search ended with.

    Attributes:
      model: who is asked.
    """

    model: str

    quick = True

    def run(self, models: Models, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        model = models[self.model]
        ready = [upload.picture.prepared for upload in uploads]
        images = pad_batch(ready, model.captioner.at_once(model.batch))
        _, found = candidate_batch(
            model.captioner, images, decoding=model.decoding, max_len=model.max_len
        )
        return [
            caption_record(upload, candidates)
            for upload, candidates in zip(uploads, found[: len(uploads)], strict=True)
        ]
