"""What a server holds: its captioners, and how they are asked."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.api import caption
from capjax.captioner import Captioner
from capjax.decoding import Decoding
from capjax.explainers.programs import Watch
from capjax.serve.asking.fitted_concepts import FittedConcepts
from capjax.serve.programs import Programs
from capjax.serve.records import finding_record
from capjax.serve.uploads import Upload
from capjax.studies.contract import Study, Subject, checked
from capjax.viz.findings import with_drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """A captioner of a server, and how it is asked.

    Attributes:
      name: what people call it.
      captioner: of images, or of clips.
      decoding, max_len: how captions are written.
      doubt: whether it says which words not to believe.
      batch: pictures at once.
      programs: what is compiled, by all captioners of a server.
      concepts: that were fitted for it.
    """

    name: str
    captioner: Captioner
    decoding: Decoding
    max_len: int
    doubt: bool
    batch: int
    programs: Programs = dataclasses.field(default_factory=Programs)
    concepts: FittedConcepts = dataclasses.field(default_factory=FittedConcepts)

    @property
    def clips(self) -> bool:
        """Whether it captions clips."""
        return self.captioner.preprocessing.frames > 0

    def findings(
        self, study: Study, uploads: Sequence[Upload], watch: Watch, *, viewed: bool
    ) -> list[dict[str, Any]]:
        """The record of what a study finds out about each picture; see `finding_record`.

        Raises:
          ValueError: the study does not suit the captioner.
        """
        study.check(self.captioner)
        found: list[dict[str, Any]] = []
        for number, upload in enumerate(uploads):
            watch(study.NAME, number, len(uploads))
            said = caption(
                self.captioner,
                [upload.picture],
                decoding=self.decoding,
                max_len=self.max_len,
                batch_size=self.batch,
            )
            picture = upload.picture
            subject = Subject(upload.name, picture.shown, picture.prepared, said[0])
            found += [
                finding_record(upload, study, with_drawn(finding), viewed=viewed)
                for finding in checked(study, [subject], self.captioner)
            ]
        return found


Models = Mapping[str, Served]
"""Captioners by name; the first is the one that is asked unless another one is named."""
