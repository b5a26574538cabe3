"""The report of a results folder: index.html and, beyond 300 images, numbered pages beside it.

A clip takes the room of several images: its page carries dozens of frames and maps of each.
"""

import hashlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from capjax.explainers.targets import Questions
from capjax.folder.opened.image import ImageResult
from capjax.folder.queries import CAPTIONS
from capjax.folder.results import RUN, ResultFolder
from capjax.metrics.captions import score_images
from capjax.runtime.files import printable, replacing
from capjax.studies.contract import Finding, Study
from capjax.studies.doubt.reasons import DOUBTED
from capjax.viz.language.page import legend
from capjax.viz.report.doubts import doubted, doubts_legend
from capjax.viz.report.page import ReportHead, ReportItem, ReportSentence, write_page

PER_PAGE = 300
IMAGES_A_CLIP = 5
SHOWN_SCORES = ("CIDEr", "BLEU-4", "ROUGE-L")

References = Mapping[str, Sequence[str]]
Scores = Mapping[str, Mapping[str, float]]


def write_report(
    folder: ResultFolder,
    files: Sequence[str],
    *,
    references: References,
    title: str,
    noun: str = "image",
    notes: Sequence[str] = (),
    studies: Sequence[Study] = (),
    doubtful: float = DOUBTED,
) -> pathlib.Path:
    """Writes the pages of `files`, one image in memory at a time; returns the first page's path.

    Args:
      folder: with a result for every file.
      files: in the order to show them.
      references: captions by people of some files; with any, the worst scored come first.
      title: of every page.
      noun: what the captioner explains, "image" or "clip".
      notes: sentences on what was left out.
      studies: whose findings are summed up.
      doubtful: probability of being hallucinated from which a word is marked.
    """
    good = [file for file in files if not folder.lines[file].failed]
    failures = [
        (printable(file), folder.read(file).error or "")
        for file in files
        if folder.lines[file].failed
    ]
    references = {file: references[file] for file in good if file in references}
    scores = _scores(folder, references)
    if references:
        good.sort(key=lambda file: scores[file]["CIDEr"] if file in scores else np.inf)
    shared, clips = _head(folder, good, title, doubtful)
    pages = _pages(good, clips)
    summaries = {study.NAME: study.summarise(_findings(folder, good, study)) for study in studies}
    names = ["index.html", *(f"index-{page:04d}.html" for page in range(2, len(pages) + 1))]
    if references:
        shared["summary"]["order"] = "lowest CIDEr first"
    for page, (name, shown) in enumerate(zip(names, pages, strict=True)):
        head = ReportHead(
            **shared,
            failures=failures if page == 0 else (),
            noun=noun,
            notes=notes if page == 0 else (),
            summaries=summaries if page == 0 else {},
            links=[
                (str(number + 1), names[number], number == page)
                for number in _near(page, len(names))
            ],
        )
        items = _items(folder, shown, references, scores, doubtful)
        _write_whole(folder.path / name, items, head)
    for stale in folder.path.glob("index-*.html"):
        if stale.name not in names:
            stale.unlink()
    return folder.path / "index.html"


def _findings(folder: ResultFolder, files: Sequence[str], study: Study) -> Iterator[Finding]:
    """All findings of a study, one in memory at a time."""
    for result in folder.results(files):
        if study.NAME in result.findings:
            yield result.findings[study.NAME].load(result.file, folder.path)


def _pages(files: Sequence[str], clips: Set[str]) -> list[list[str]]:
    """The files of each page, in order; one empty page when there are none."""
    pages: list[list[str]] = [[]]
    room = PER_PAGE
    for file in files:
        takes = IMAGES_A_CLIP if file in clips else 1
        if takes > room:
            pages.append([])
            room = PER_PAGE
        pages[-1].append(file)
        room -= takes
    return pages


def _near(page: int, pages: int) -> list[int]:
    """Pages to link: the first, the last, those around this one, and every hundredth."""
    wanted = {0, pages - 1, *range(page - 5, page + 6), *range(99, pages, 100)}
    return sorted(number for number in wanted if 0 <= number < pages)


def _write_whole(path: pathlib.Path, items: Iterator[ReportItem], head: ReportHead) -> None:
    with replacing(path) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="xmlcharrefreplace")
        write_page(stream, items, head)
        stream.detach()


def _items(
    folder: ResultFolder,
    files: Sequence[str],
    references: References,
    scores: Scores,
    doubtful: float,
) -> Iterator[ReportItem]:
    for file in files:
        result = folder.read(file)
        found = ImageResult(result, folder.path, folder.maps).sentences
        yield ReportItem(
            name=printable(file),
            thumbnail=folder.maps.thumbnail(result),
            caption=result.caption,
            sentences=[
                ReportSentence(
                    list(explanations.values()),
                    answer.query,
                    answer.visual_information,
                    {way: np.array(found) for way, found in answer.linguistic.items()},
                )
                for answer, explanations in zip(result.answers, found, strict=True)
            ],
            references=[text for text in references.get(file, ()) if text not in result.queries],
            scores=scores.get(file, {}),
            frames=result.frames,
            seconds=result.seconds,
            findings={
                name: stored.load(file, folder.path) for name, stored in result.findings.items()
            },
            doubts=doubted(result.doubts, doubtful),
        )


def _head(
    folder: ResultFolder, files: Sequence[str], title: str, doubtful: float
) -> tuple[dict[str, Any], Set[str]]:
    """Title, summary, methods and value ranges, and which files are clips: one pass over all."""
    run = json.loads((folder.path / RUN).read_text("utf-8"))
    ranges: dict[str, tuple[float, float]] = {}
    units: dict[str, str] = {}
    measures: dict[str, str | None] = {}
    flat: dict[str, int] = {}
    clips: set[str] = set()
    pictures: int | None = None
    sentences = 0
    named: list[int] = []  # object words, and of these the doubtful ones
    for result in folder.results(files):
        if result.frames > 1:
            clips.add(result.file)
        if result.doubts is not None:
            own = len(result.doubts), len(doubted(result.doubts, doubtful))
            named = [sum(pair) for pair in zip(named or (0, 0), own, strict=True)]
        for answer in result.answers:
            sentences += 1
            if answer.visual_information is not None:
                pictures = max(pictures or 0, answer.visual_information.pictures)
            for method, stored in answer.methods.items():
                flags = stored.flags
                measures[method] = stored.measure
                if stored.unit:
                    units[method] = stored.unit
                low, high = ranges.get(method, (np.inf, -np.inf))
                ranges[method] = (min(low, flags["minimum"]), max(high, flags["maximum"]))
                flat[method] = flat.get(method, 0) + flags["flat"]
    decoding = run["decoding"]
    summary = {
        "images": f"{len(files) - len(clips):,}",
        **({"clips": f"{len(clips):,}"} if clips else {}),
        "model": f"{run['model']} ({run['model_hash'][:12]})",
        "explained": ", ".join([_explained(run), *Questions.from_json(run).labels]),
        "decoding": _written(decoding),
        **{f"{name}: flat maps": f"{count:,} of {sentences:,}" for name, count in flat.items()},
        **legend(pictures),
        **doubts_legend(named, doubtful),
        "capjax": run["code_version"],
    }
    asked = [run["query"]] if run.get("queries") is None else [run["query"], run["queries"]]
    identity = json.dumps([run["model_hash"], *asked, run["decoding"]])
    head = {
        "title": title,
        "summary": summary,
        "methods": list(ranges),
        "ranges": ranges,
        "units": units,
        "measures": measures,
        "run": hashlib.sha256(f"{identity} {title}".encode()).hexdigest()[:16],
        "model": run["model_hash"],
    }
    return head, clips


def _written(decoding: Mapping[str, Any]) -> str:
    """How captions were written, by run.json."""
    told = f"{decoding['method']}, width {decoding['width']}"
    if by := decoding.get("rerank"):
        told += f", reranked by {by}, weight {decoding['rerank_weight']:g}"
    return told


def _explained(run: Mapping[str, Any]) -> str:
    """What was explained, by run.json."""
    if run.get("queries") == CAPTIONS:
        return "captions by people"
    if run["query"] is None:
        return "the model’s captions"
    texts = [run["query"]] if isinstance(run["query"], str) else run["query"]
    return ", ".join(f"“{text}”" for text in texts)


def _scores(folder: ResultFolder, references: References) -> dict[str, dict[str, float]]:
    """Scores of each caption, CIDEr weighing words by the references of these images."""
    if not references:
        return {}
    captions = {file: folder.read(file).caption for file in references}
    measured = score_images(references, captions, metrics=("BLEU", "ROUGE-L", "CIDEr"))
    return {
        file: {name: float(own[name] or 0.0) for name in SHOWN_SCORES}
        for file, own in measured.items()
    }
