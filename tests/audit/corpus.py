"""Folders of results of made-up runs, written line by line: what is wrong in them is planted."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from capjax.explainers.flags import reading_flags
from capjax.explainers.language.visual_information import VisualInformation
from capjax.folder.maps.files import write_maps
from capjax.folder.queries import Queries
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.stored_findings import StoredFinding
from capjax.runtime.fingerprint import Fingerprint
from capjax.studies.contract import Table
from capjax.studies.counterfactual.study import Counterfactual
from capjax.studies.counterfactual.telling import OBJECTS as OBJECTS_OF
from capjax.studies.counterfactual.telling import PLACES as PLACES_OF
from capjax.studies.counterfactual.telling import WITHOUT
from capjax.types import Explanation, Geometry, WordDoubt

GRID = (4, 4)
GEOMETRY = Geometry((64, 64), (64, 64), (0, 0, 64, 64), GRID)
COLOURS = ("red", "blue", "green")
OBJECTS = ("dog", "cat", "car")
PLACES = ("beach", "street", "field", "lake", "hill")
METHODS = ("one", "other")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What is made up.

    Attributes:
      count: images.
      blind: word that the image adds nothing to.
      empty: group of images, by the last digit of their numbers, whose maps are constant.
      misplaced: object word whose maps lie opposite to it.
      doubted: object word that is doubted.
      twins: words whose maps are the same.
      visual, methods: what is stored.
      query: what is asked instead of the caption; its probability grows with the image's number.
      findings: whether the counterfactual study's findings are stored.
      seed: of all draws.
    """

    count: int = 60
    blind: str = ""
    empty: frozenset[int] = frozenset()
    misplaced: str = ""
    doubted: str = ""
    twins: tuple[str, str] = ("", "")
    visual: bool = True
    methods: tuple[str, ...] = METHODS
    query: str = ""
    findings: bool = False
    seed: int = 0

    def name(self, number: int) -> str:
        """File of an image."""
        return f"{number % 7}/{number:06d}.jpg"

    def caption(self, number: int) -> str:
        """What is said of an image."""
        draw = np.random.default_rng([7, number])
        colour, thing, place = (draw.choice(own) for own in (COLOURS, OBJECTS, PLACES))
        return f"a {colour} {thing} on the {place}"

    def cell(self, number: int) -> tuple[int, int]:
        """Where the object of an image lies."""
        row, column = np.random.default_rng([8, number]).integers(4, size=2)
        return int(row), int(column)

    def maps(self, number: int, method: str, words: tuple[str, ...]) -> np.ndarray:
        """[N 1 4 4] of an image: noise, and for object words a peak on the object."""
        draw = np.random.default_rng([self.seed, number, len(method)])
        if number % 10 in self.empty:
            return np.full((len(words), 1, *GRID), 0.0625, np.float32)
        maps = draw.uniform(0, 1, (len(words), 1, *GRID)) ** 4
        row, column = self.cell(number)
        for place, word in enumerate(words):
            if word in OBJECTS:
                at = (3 - row, 3 - column) if word == self.misplaced else (row, column)
                maps[place, 0, at[0], at[1]] = 4.0
        if set(self.twins) <= set(words):
            one, other = map(words.index, self.twins)
            maps[other] = maps[one]
        return maps.astype(np.float32)

    def answer(self, number: int, text: str) -> tuple[Answer, dict[str, Explanation]]:
        """One sentence about an image, and its maps."""
        draw = np.random.default_rng([self.seed, 9, number])
        words = tuple(text.split())
        spans = tuple((index, index + 1) for index in range(len(words)))
        log_probs = [-float(own) for own in draw.uniform(0.1, 1.0, len(words))]
        if self.query:
            log_probs = [-1.0 - (self.count - number) / self.count] * len(words)
        bits = draw.normal(4.0, 1.0, len(words))
        for place, word in enumerate(words):
            if word in ("a", "on", "the"):
                bits[place] = 0.1
            if word == self.blind:
                bits[place] = draw.normal(0.0, 0.3)
        image = np.float32(log_probs)
        visual = VisualInformation(image, image - 1, np.float32(image - bits * math.log(2)), 64)
        explanations, stored = {}, {}
        for method in self.methods:
            maps = self.maps(number, method, words)
            flags = reading_flags(maps)
            of = words, spans, image, method, GEOMETRY, flags
            explanations[method] = Explanation(maps, *of)
            path = f"maps/{self.name(number)}.npz"
            stored[method] = StoredMaps(path, flags, overlay=f"overlays/{number}.{method}.jpg")
        answer = Answer(
            self.query or None,
            words,
            spans,
            tuple(range(4, 4 + len(words))),
            tuple(round(own, 6) for own in log_probs),
            stored,
            visual_information=visual if self.visual else None,
        )
        return answer, explanations

    def record(self, number: int) -> tuple[Result, dict[str, Explanation]]:
        """The result of an image, and its maps."""
        text = self.caption(number)
        answer, explanations = self.answer(number, self.query or text)
        draw = np.random.default_rng([self.seed, 10, number])
        doubts = tuple(
            WordDoubt(at, at + 1, word, (word,), 0.9 if word == self.doubted else 0.1, "why")
            for at, word in enumerate(text.split())
            if word in OBJECTS
        )
        name = self.name(number)
        known = Fingerprint(9, hashlib.sha256(name.encode()).hexdigest(), (1, 2))
        score = -float(draw.uniform(2, 4))
        record = Result(
            name,
            9,
            known,
            caption=text,
            tokens=answer.tokens,
            score=score,
            answers=(answer,),
            doubts=doubts if self.visual else None,
            findings={Counterfactual.NAME: self.finding(number)} if self.findings else {},
        )
        return record, explanations

    def finding(self, number: int) -> StoredFinding:
        """What is said of an image without its object, and without a small cup on it."""
        words = self.caption(number).split()
        thing = words[2]
        far = 0.9 if thing == "car" else 0.3
        columns = ("object", "class", "outline", *PLACES_OF, "named")
        places = (0.1, 0.2, 0.3, 0.0)
        objects = [(f"{thing} 1", thing, "box", *places, 1), ("cup 1", "cup", "box", *places, 0)]
        measures = ("sentence distance: 1 - ROUGE-L", "bits of the caption")
        rows = [
            ("nothing", None, self.caption(number), None, None),
            (f"{thing} 1", "mean", f"a {words[1]} thing", far, 5.0),
            ("cup 1", "mean", self.caption(number), 0.0, 0.25),
            (f"{thing} 1", "blur", "something else", 1.0, 9.0),
            ("cup 1", "blur", "something else", 1.0, 9.0),
        ]
        return StoredFinding(
            {},
            tables={
                OBJECTS_OF: Table(columns, tuple(objects)),
                WITHOUT: Table(("without", "fill", "caption", *measures), tuple(rows)),
            },
        )

    def boxes(self) -> Mapping[str, object]:
        """A COCO instances JSON: the object of each image fills its cell."""
        images, annotations = [], []
        for number in range(self.count):
            row, column = self.cell(number)
            (thing,) = set(self.caption(number).split()) & set(OBJECTS)
            size = {"height": 64, "width": 64}
            images.append({"id": number, "file_name": self.name(number), **size})
            box = [column * 16, row * 16, 16, 16]
            category = OBJECTS.index(thing)
            annotations.append(
                {"id": number, "image_id": number, "category_id": category, "bbox": box}
            )
        categories = [{"id": number, "name": name} for number, name in enumerate(OBJECTS)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def write(self, out: Path, *, pictures: bool = False) -> Path:
        """Writes the folder, its lines in no order; returns it."""
        out.mkdir(parents=True)
        run = {
            "model_hash": "0123456789abcdef",
            "model": "made up",
            "decoding": {"method": "greedy", "width": 1},
            "code_version": "0",
            **Queries(texts=(self.query,) if self.query else ()).to_json(),
            "methods": {method: {} for method in self.methods},
        }
        (out / "run.json").write_text(json.dumps(run))
        order = np.random.default_rng(self.seed).permutation(self.count)
        with open(out / "results.jsonl", "w") as stream:
            for number in map(int, order):
                record, explanations = self.record(number)
                path = out / "maps" / f"{record.file}.npz"
                write_maps(path, [explanations], keep=False)
                stream.write(json.dumps(record.to_json()) + "\n")
                if pictures:
                    self._draw(out, number)
        return out

    def _draw(self, out: Path, number: int) -> None:
        image = Image.new("RGB", (64, 64), (40 * (number % 5), 90, 120))
        small = out / "thumbnails" / f"{self.name(number)}.jpg"
        strips = [out / "overlays" / f"{number}.{method}.jpg" for method in self.methods]
        for path in (small, *strips):
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
