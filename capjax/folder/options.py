"""The command line of explain.py: its options, and what they mean for a captioner."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from capjax.captioner import Captioner
from capjax.data.stores.choosing import add_image_options
from capjax.decoding import Decoding, describe
from capjax.decoding.options import add_decoding_options
from capjax.explainers.choosing import Chosen, described, labels
from capjax.explainers.language.program import check_language
from capjax.explainers.options import add_method_options
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Unknown
from capjax.folder.engines.options import add_engine_options
from capjax.folder.maps.formats import FILES, FORMAT, FORMATS
from capjax.folder.queries import CAPTIONS, Queries
from capjax.folder.results import DECODE, EXACT, SCALED
from capjax.folder.speed.options import add_speed_options
from capjax.metrics.similarity import ENCODER_HELP
from capjax.runtime import locks
from capjax.runtime.command_line import (
    MODEL_HELP,
    Listing,
    add_batch_options,
    add_precision_option,
    at_least_one,
    refuse_idle,
    refuse_repeated,
)
from capjax.runtime.version import code_version
from capjax.studies.choosing import STUDIES, choose_studies, described_studies
from capjax.studies.contract import Study, by_name, settings
from capjax.studies.counterfactual.named import add_object_options, with_objects
from capjax.studies.doubt.doubter import FILE as DOUBT_FILE
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.options import add_doubt_options
from capjax.studies.doubt.reranking import Reranker
from capjax.viz.figure_files import FigureFiles, FigureFormat
from capjax.viz.strip_files import StripFiles, StripFormat
from capjax.viz.strips import FRAME_HEIGHT, IMAGE_HEIGHT


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="explain.py",
        description="Captions images or clips and shows, for every word, where it comes from.",
        epilog="exit codes: 0 all explained; 1 --out could not be written to the end; 2 wrong "
        "usage, or --out holds another run; 3 some images could not be read",
    )
    refuse_repeated(parser)
    add = parser.add_argument
    add("--model", required=True, help=MODEL_HELP)
    add_image_options(add)
    add(
        "--out",
        required=True,
        help="folder of the results, or its address, as s3://bucket/report (extra `remote`); "
        "continued when it exists",
    )
    add(
        locks.BREAK,
        action="store_true",
        help="write to --out though a process of another machine locked it: that process is dead",
    )
    add_method_options(add, "attention")
    add(
        "--dense",
        action="store_true",
        help="keep and draw maps on finer grids than the model's, such as the pixels', whole "
        "(default: as means over the model's cells)",
    )
    add(
        "--list-methods",
        action=Listing,
        described=described,
        help="print methods, options, measure, cost and source; exit",
    )
    add(
        "--studies",
        type=_names,
        default=(),
        help=f"comma-separated, of: {', '.join(STUDIES)}: what else to find out of a picture; "
        "--set=STUDY.OPTION=VALUE sets options",
    )
    add(
        "--similarity",
        metavar="ENCODER",
        help="of sentences, by which studies compare captions (default: 1 - ROUGE-L): "
        f"{ENCODER_HELP}",
    )
    add(
        "--list-studies",
        action=Listing,
        described=described_studies,
        help="print studies, options, cost and source; exit",
    )
    add(
        "--query",
        action="append",
        default=[],
        help="explain this sentence for every image, not each image's caption; "
        "[brackets] mark phrases that are explained as one; may be repeated: all sentences are "
        "explained in one pass",
    )
    add(
        "--queries",
        choices=(CAPTIONS,),
        help="captions: explain what people wrote about each image, every caption of --captions a "
        "sentence; images without any are left out",
    )
    add(
        "--unknown-words",
        choices=get_args(Unknown),
        default="token",
        help="how the captioner reads words of the query that it does not know: "
        "as its unknown token (default), or not at all",
    )
    add(
        "--contrast",
        action="append",
        default=[],
        metavar="WORD:OTHER",
        help="also explain why a sentence says WORD and not OTHER, as in dog:cat; may be repeated; "
        "sentences without WORD are counted",
    )
    add(
        "--keyword",
        action="append",
        default=[],
        metavar="WORD",
        help="also make one map of all places that say WORD; may be repeated",
    )
    add("--whole-sentence", action="store_true", help="also make one map of the whole sentence")
    add(
        "--linguistic",
        type=_names,
        default=(),
        help="say how much each word depends on each earlier one: leave_one_out, gradient, or both "
        "with a comma; arrows and a table in the report",
    )
    add(
        "--no-visual-information",
        dest="visual_information",
        action="store_false",
        help="do not say how many bits of each word come from the image",
    )
    add_doubt_options(add)
    add_precision_option(add)
    add(
        "--captions",
        help="captions by people, a file of any format: shown and scored (default: those that lie "
        "beside the images in shards)",
    )
    add(
        f"--{DECODE}",
        choices=(SCALED, EXACT),
        default=SCALED,
        help="scaled: a JPEG at least four times too large is decoded at 1/2, 1/4 or 1/8 of its "
        "size, 1.5 of 255 from exact on average at the most (default); exact: at its full size, "
        "which takes 2 to 6 times as long to read; one --out holds results of one of them",
    )
    add_decoding_options(parser)
    add_batch_options(add, default=16)
    add(
        "--format",
        choices=FORMATS,
        default=FILES,
        help="how maps are kept: files, an .npz an image in float32 (default); parquet (extra "
        "`parquet`) or arrayrecord, shards of up to 1,024 images in float16 under a scale of each "
        "map, with thumbnails and without overlays unless --overlays asks for them; "
        "capjax.open_results reads all three alike",
    )
    formats = get_args(StripFormat)
    add(
        "--overlays",
        choices=(*formats, "none"),
        nargs="?",
        const=formats[0],
        help="format of the strip of word maps of each image and method: jpeg (default), webp "
        "(smaller, slower), png (about five times as large), or none (default of other --format "
        "than files); strips that are there are "
        "drawn again where format, height or font are given and differ",
    )
    add("--no-overlays", dest="overlays", action="store_const", const="none", help="as none")
    add(
        "--overlay-height",
        type=at_least_one,
        help=f"of each picture of a strip, in pixels (default {IMAGE_HEIGHT}, "
        f"of clips {FRAME_HEIGHT})",
    )
    kinds = get_args(FigureFormat)
    add(
        "--figures",
        choices=kinds,
        nargs="?",
        const=kinds[0],
        help="write a figure for papers of each image and method (and sentence) to "
        "figures/<image>.<method>.<format>, pdf (default), png or svg: the phrases of a query, or "
        "the words of a sentence, each over the photograph with an asterisk where its map is "
        "highest; of a clip the most relevant frames of each word, and an animation (.gif)",
    )
    add_object_options(add)
    add_speed_options(parser)
    add_engine_options(parser)
    add(
        "--font",
        help="a .ttf, .otf or .ttc file with the letters of the words, for overlays and figures "
        "(default: a font of this machine that has them)",
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def chosen_studies(
    options: argparse.Namespace, own: Sequence[Study]
) -> tuple[dict[str, Study], list[str]]:
    """Studies by name, those that --studies names and one's own; and what else --set sets.

    Raises:
      ValueError: what `choose_studies` and `by_name` raise; or --similarity without any study that
        compares captions.
    """
    names = list(dict.fromkeys(options.studies))
    comparing = [name for name, study in STUDIES.items() if "similarity" in settings(study)]
    asked = []
    if options.similarity:
        asked = [f"{name}.similarity={options.similarity}" for name in names if name in comparing]
        if not asked:
            raise ValueError(
                "--similarity would have no effect: no study compares captions by it; add "
                f"--studies={'|'.join(comparing)}, or leave it out"
            )
    named, others = choose_studies(names, [*asked, *options.set])
    return with_objects(options, by_name([*named, *own])), others


def chosen_queries(
    options: argparse.Namespace,
    captioner: Captioner,
    references: Mapping[str, Sequence[str]],
    files: Sequence[str],
    questions: Questions,
    tell: Callable[[str], None],
) -> Queries:
    """What to explain of each image.

    Args:
      options: of the command line.
      captioner: that explains.
      references: captions by people of each file.
      files: of the run.
      questions: what is explained of every sentence beside its words.
      tell: takes a sentence on what is left out.
    """
    language = check_language(
        captioner, options.linguistic, visual_information=options.visual_information
    )
    unknown = options.unknown_words
    if options.queries is None:
        if not options.query:
            refuse_idle(options, ["unknown_words"], "it is about words of a --query")
        asked = Queries.of_texts(captioner, options.query, unknown=unknown, questions=questions)
        return dataclasses.replace(asked, language=language)
    if options.query:
        raise ValueError(
            "--query and --queries=captions ask for different sentences; give one of the two"
        )
    if not references:
        raise ValueError(
            "--queries=captions explains captions by people, and none lie beside the images: add "
            "--captions=FILE"
        )
    asked = Queries.of_captions(
        captioner, references, files, unknown=unknown, questions=questions, tell=tell
    )
    return dataclasses.replace(asked, language=language)


def chosen_questions(options: argparse.Namespace, captioner: Captioner) -> Questions:
    """What is explained of every sentence beside its words.

    Raises:
      ValueError: what `Questions.of` raises.
    """
    return Questions.of(
        captioner.text,
        keywords=options.keyword,
        contrasts=options.contrast,
        sentence=options.whole_sentence,
    )


def strip_files(options: argparse.Namespace) -> StripFiles | None:
    """How strips are written, if they are."""
    unasked = options.overlays is None and options.format != FILES
    if options.overlays == "none" or unasked:
        refuse_idle(options, ["overlay_height"], "no overlays are written")
        if options.figures is None:
            refuse_idle(options, ["font"], "no overlays are written")
        return None
    return StripFiles(options.overlays, options.overlay_height, options.font)


def figure_files(options: argparse.Namespace, studies: Mapping[str, Study]) -> FigureFiles | None:
    """How figures are written, if they are."""
    if options.figures is None:
        if not any(study.OBJECTS for study in studies.values()):
            refuse_idle(options, ["boxes"], "they are drawn in figures; add --figures")
        return None
    return FigureFiles(options.figures, options.font)


def describe_run(
    options: argparse.Namespace,
    saved: Captioner,
    captioner: Captioner,
    queries: Queries,
    decoding: Decoding,
    max_len: int,
    reranker: Reranker | None,
    methods: Sequence[Chosen],
    studies: Mapping[str, Study],
    kept: Kept | None,
) -> dict[str, Any]:
    """What run.json says of the `captioner` that the options make of the `saved` one."""
    return {
        "model_hash": captioner.hash,
        "model": options.model,
        "saved_model": saved.hash,
        "reading": getattr(captioner.net.decoder, "reading", None),
        "precision": captioner.precision,
        **queries.to_json(),
        **queries.questions.to_json(),
        "decoding": describe(decoding, max_len) | (reranker.describe() if reranker else {}),
        **({"dense": True} if options.dense else {}),
        **({} if options.decode == SCALED else {DECODE: options.decode}),
        **({} if options.format == FILES else {FORMAT: options.format}),
        "methods": labels(methods),
        "studies": {name: study.describe() for name, study in studies.items()},
        **({} if kept is None else {"doubts": {DOUBT_FILE: {"fitted": kept.digest}}}),
        "code_version": code_version(),
    }
