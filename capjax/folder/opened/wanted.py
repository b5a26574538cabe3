"""Which results a reader asked for, decided from their lines: no maps are read."""

import dataclasses
import fnmatch
import json

from capjax.folder.records import Answer, Result


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a result has to have; None of what does not matter.

    Attributes:
      image: pattern of its file name, in which `*` stands for `/` too.
      word: of one of its sentences.
      method: that explained it.
      flag: that maps of it have, those of `method` where that is given.
      error: pattern of why it could not be explained; True for any reason, False for none.
    """

    image: str | None = None
    word: str | None = None
    method: str | None = None
    flag: str | None = None
    error: str | bool | None = None

    def named(self, file: str) -> bool:
        """Whether a file has the name that is wanted."""
        return self.image is None or fnmatch.fnmatchcase(file, self.image)

    @property
    def names_alone(self) -> bool:
        """Whether names decide."""
        return dataclasses.replace(self, image=None) == Wanted()

    def may_hold(self, raw: bytes) -> bool:
        """Whether a line could be wanted, by its text: much quicker than `holds`."""
        texts = [text for text in (self.word, self.method, self.flag) if text is not None]
        return all(json.dumps(text).encode() in raw for text in texts)

    def holds(self, result: Result) -> bool:
        """Whether a result, whose name is wanted, is wanted."""
        if self.error is not None and not self._failed(result.error):
            return False
        if self.word is None and self.method is None and self.flag is None:
            return True
        return any(map(self._answered, result.answers))

    def _failed(self, reason: str | None) -> bool:
        if reason is None or self.error is False:
            return reason is None and self.error is False
        return self.error is True or fnmatch.fnmatchcase(reason, str(self.error))

    def _answered(self, answer: Answer) -> bool:
        if self.word is not None and self.word not in answer.words:
            return False
        stored = answer.methods
        if self.method is not None:
            stored = {name: own for name, own in stored.items() if name == self.method}
        if self.flag is not None:
            return any(own.flags.get(self.flag) for own in stored.values())
        return self.method is None or bool(stored)
