"""A folder of results, opened to be read: the door to what explain.py left."""

import array
import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from capjax.data.mirrors.mirror import here
from capjax.folder.maps.contract import MapReader
from capjax.folder.maps.formats import map_reader
from capjax.folder.opened.image import DamagedMapsError, ImageResult
from capjax.folder.opened.lines import ResultLines
from capjax.folder.opened.tables import Damaged, image_reader, word_reader
from capjax.folder.opened.wanted import Wanted
from capjax.folder.results import RESULTS, RUN

if TYPE_CHECKING:
    import pyarrow as pa


def open_results(path: str | os.PathLike[str]) -> "Results":
    """Opens a folder that `explain.py` wrote, or is writing; nothing is written, nothing locked.

        results = capjax.open_results("report")
        results["beach/12.jpg"]["gradcam"].maps          # [N F h w]
        for image in results.where(word="dog", flag="degenerate", method="gradcam"):
            print(image.file, image.caption)
        results.words_table().read_pandas()              # one row a word

    What is opened stays as it is now: open the folder again to see what a run has written since.
    Folders of older versions are read too.

    Args:
      path: of the folder, --out of the command, or its address; of an address all is fetched
        into a temporary folder, which goes when the process ends.

    Raises:
      FileNotFoundError: no such folder, or no run.json in it.
      ValueError: run.json is damaged, or another command wrote it.
      ImportError: pyarrow is missing, which a folder of --format=parquet needs.
    """
    folder = here(path, "path")
    described = folder / RUN
    if not described.is_file():
        there = "has no run.json" if folder.is_dir() else "is not there"
        raise FileNotFoundError(
            f"{folder} {there}; give the folder that explain.py wrote (its --out)"
        )
    try:
        run = dict(json.loads(described.read_text("utf-8")))
    except ValueError as error:
        raise ValueError(f"{described} is damaged ({error}); open another folder") from error
    if "model_hash" not in run or "decoding" not in run:
        raise ValueError(
            f"{described} is not of explain.py: it lacks `model_hash` or `decoding`; open the "
            "--out folder of an explain.py run"
        )
    lines = ResultLines(folder / RESULTS)
    if remark := lines.remark():
        warnings.warn(remark, stacklevel=2)
    numbers = array.array("q", range(len(lines.names)))
    return Results(folder, run, lines, map_reader(folder, run), numbers)


class Results:
    """Images of a run, sorted by file name, or those of them that `where` chose.

    Sized and iterable, one image in memory at a time. Maps are read when an image is asked for
    them. Images that could not be explained are among them, with their `error`.

    Attributes:
      folder: of the results.
      run: what run.json says: model, query, decoding, methods and their options.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        run: Mapping[str, Any],
        lines: ResultLines,
        maps: MapReader,
        numbers: "array.array[int]",
    ) -> None:
        self.folder, self.run = folder, run
        self._lines, self._maps, self._numbers = lines, maps, numbers
        self._number_of: dict[str, int] | None = None

    @property
    def files(self) -> list[str]:
        """Their names, in order."""
        return [self._lines.names[number] for number in self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[ImageResult]:
        return map(self._image, self._numbers)

    def __contains__(self, file: object) -> bool:
        return file in self._places

    @overload
    def __getitem__(self, which: int | str) -> ImageResult: ...
    @overload
    def __getitem__(self, which: slice) -> "Results": ...
    def __getitem__(self, which: int | str | slice) -> "ImageResult | Results":
        """The image of a file name, or at an index; the images of a slice.

        Raises:
          KeyError: no image of that name.
          IndexError: no such index.
        """
        if isinstance(which, slice):
            return self._of(self._numbers[which])
        if not isinstance(which, str):
            return self._image(self._numbers[which])
        if which not in self._places:
            near = f"the first is {self.files[0]!r}" if self else "there are none"
            raise KeyError(f"no image {which!r} among {len(self)} of {self.folder}; {near}")
        return self._image(self._places[which])

    def where(
        self,
        *,
        image: str | None = None,
        word: str | None = None,
        method: str | None = None,
        flag: str | None = None,
        error: str | bool | None = None,
    ) -> "Results":
        """The images that have all of this; found from their lines, without reading maps.

        Args:
          image: pattern of the file name, as in "beach/*.jpg"; `*` stands for `/` too.
          word: of a sentence that was explained, spelt as there.
          method: that explained that sentence, as in "gradcam".
          flag: that its maps have, of `method` where that is given: "flat", "degenerate",
            "unknown_words" and what else flags tell; a list counts where it is not empty.
          error: pattern of why an image could not be explained; True for all that could not be,
            False for all that were.
        """
        wanted = Wanted(image, word, method, flag, error)
        names = self._lines.names
        named = (number for number in self._numbers if wanted.named(names[number]))
        if not wanted.names_alone:
            named = (
                number
                for number in named
                if wanted.may_hold(self._lines.raw(number))
                and wanted.holds(self._lines.read(number))
            )
        return self._of(array.array("q", named))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the run, as its maps are named."""
        if "methods" in self.run:
            return tuple(self.run["methods"])
        found: dict[str, None] = {}  # a folder of an older version
        for image in self:
            found.update((name, None) for answer in image.answers for name in answer.methods)
        return tuple(found)

    def images_table(self) -> "pa.RecordBatchReader":
        """One row an image: caption, score, error, flags; from the lines alone.

        Columns: file, caption, score, finished, words (of the first sentence), sentences (how
        many), most_doubtful (the highest probability that an object word names nothing), frames,
        bytes, sha256, metadata (what lies beside the image, as JSON), error; and of each method
        `<method>.flags`, the names of those that hold of the first sentence.

        Returns:
          a reader of record batches of bounded size: `.read_all()` is a pyarrow table,
          `.read_pandas()` a DataFrame, and `pyarrow.dataset`, DuckDB or Polars read it as a stream.
        """
        return image_reader(self, self.methods)

    def words_table(
        self, *, maps: bool = True, damaged: Damaged = "raise"
    ) -> "pa.RecordBatchReader":
        """One row a word of every sentence that was explained.

        Columns: file, sentence (from 0), query (null for the caption), position, word,
        log_probability (null for a word that the captioner was not shown), visual_bits, doubt; and
        of each method:

        - `<method>.flags`: names of those that hold of the sentence or of this word;
        - `<method>.entropy`: of its map, from 0 for one cell to 1 for a uniform one;
        - `<method>.peak`: the largest value of the map, raw;
        - `<method>.frame`, `<method>.x`, `<method>.y`: where that is: frame, and pixels of the
          photograph;
        - `<method>.mass`: what the map sums to; of maps in logarithms, what their exponentials do.

        Args:
          maps: False leaves out the last five, and reads no maps: much faster.
          damaged: "raise" a DamagedMapsError at the first image whose maps are damaged, or "mark"
            its words: a column `damaged` says why, and what its maps would tell is null.

        Returns:
          as `images_table`.
        """
        if damaged not in ("raise", "mark"):
            raise ValueError(f"unknown damaged={damaged!r}; choose 'raise' or 'mark'")
        return word_reader(self, self.methods, maps=maps, damaged=damaged)

    def check(self) -> dict[str, str]:
        """Reads all maps; file -> what is wrong with those of an image, where they are damaged."""
        problems = {}
        wrong: dict[str, str | None] = {}
        for image in self:
            try:
                for place in image.places:
                    if place not in wrong:
                        wrong[place] = self._maps.problem(place)
                    if why := wrong[place]:
                        raise image.damaged(why)
                _ = image.sentences
            except DamagedMapsError as error:
                problems[image.file] = str(error)
        return problems

    @property
    def _places(self) -> dict[str, int]:
        if self._number_of is None:
            self._number_of = {self._lines.names[number]: number for number in self._numbers}
        return self._number_of

    def _image(self, number: int) -> ImageResult:
        return ImageResult(self._lines.read(number), self.folder, self._maps)

    def _of(self, numbers: "array.array[int]") -> "Results":
        return Results(self.folder, self.run, self._lines, self._maps, numbers)

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r}, {len(self)} images, methods={list(self.methods)})"
