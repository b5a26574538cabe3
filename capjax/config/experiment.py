"""The typed settings of one experiment, and what turns a `configs/` file into them.

`get_config()` of a config file returns an `ExperimentConfig` that flags may still override;
`resolve` checks it, fills what depends on the machine, and freezes it. The architecture sections
hold the constructor arguments of a linen module, so that the module is the schema.

The default of a new setting, here or in a module, must keep what was done before it existed:
`with_defaults` gives it to the stored settings of older runs.
"""

import copy
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from capjax.config.frozen import freeze
from capjax.config.sections import check_section, defaults, make_section
from capjax.data.settings import DataConfig
from capjax.data.sources.datasets import data_root
from capjax.decoders import DECODERS
from capjax.decoding.rules import SEARCHES
from capjax.encoders import ENCODERS
from capjax.metrics.card import COLUMNS
from capjax.metrics.published import published
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.train.profiling import parse_span
from capjax.train.self_critical import SelfCriticalConfig

CONFIG_FILE = "config.json"
"""Of a workdir: the settings of its run."""


@dataclasses.dataclass
class EvaluationConfig:
    """How validation captions are decoded and which score decides.

    Attributes:
      every: steps between evaluations; 0: once an epoch.
      metric: the best model has the largest of this, "CIDEr", "BLEU-4", "ROUGE-L", "METEOR" (with
        Java), "BLEU-1" … or "CLIP-text" (with `clip_text`).
      patience: stop after so many evaluations without a new best; 0: never.
      search: rule of the beam search, "beam" or "huggingface".
      beam: width of the beam, 1 for greedy.
      length_penalty: exponent of the length that divides a caption's log-probability.
      images: validation images used while training, 0 for all; the end always uses all.
      batch_size: images decoded at once.
      clip_text: measure "CLIP-text" too, the mean cosine of CLIP's text embeddings of a caption and
        of its references: a folder with a CLIP as transformers keeps it, or "hf:owner/name".
      published: scores to print beside the run's, names of `capjax/metrics/published.toml` with
        commas between.
      others: training images whose features the saved model keeps, so that reports can say how much
        more probable an image makes a word than others do (`capjax.explainers.language`); 0: none.
    """

    every: int = 0
    metric: str = "CIDEr"
    patience: int = 0
    search: str = "beam"
    beam: int = 3
    length_penalty: float = 1.0
    images: int = 0
    batch_size: int = 64
    clip_text: str = ""
    published: str = ""
    others: int = 16


@dataclasses.dataclass
class ExperimentConfig:
    """One experiment.

    Attributes:
      encoder, decoder: see `encoder_section` and `decoder_section`.
      data, loss, self_critical, optimizer, train, evaluation: see their classes.
      init_from: a captioner whose weights and words the run starts from (a training workdir, a
        shipped or a hub model); the architecture is this config's and must be the captioner's.
        Words and weights are then the captioner's, whatever `data.glove`, `data.frequency_bias`
        and `encoder.weights` say. Empty: random weights, and the words of the training captions.
      profile: "START:COUNT" traces COUNT updates, after START of this process, with
        `jax.profiler` into `profile/` of the workdir; empty: none.
      seed: of initialisation, dropout and the order of samples.
    """

    encoder: config_dict.ConfigDict
    decoder: config_dict.ConfigDict
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    self_critical: SelfCriticalConfig = dataclasses.field(default_factory=SelfCriticalConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: LoopConfig = dataclasses.field(default_factory=LoopConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    init_from: str = ""
    profile: str = ""
    seed: int = 0


def encoder_section(name: str, *, weights: str = "", **arguments: Any) -> config_dict.ConfigDict:
    """Settings of an encoder: every constructor argument, overridable and typed.

    Args:
      name: key of `capjax.encoders.ENCODERS`.
      weights: file of pretrained weights, absolute or relative to the `weights` folder beside the
        data, or a part of it, "FILE#PART" (one of several state dicts, or the keys that begin so);
        one of the hub, "hf:owner/name[@revision][/file]"; or a captioner, by its folder or name,
        whose encoder it shall be; empty: random initialisation.
      **arguments: constructor arguments that differ from their defaults.
    """
    section = make_section("encoder", name, ENCODERS, arguments)
    section.weights = weights
    return section


def decoder_section(name: str, **arguments: Any) -> config_dict.ConfigDict:
    """Settings of a decoder; `vocab_size` and `features` follow from the data and the encoder."""
    return make_section("decoder", name, DECODERS, arguments)


def resolve(config: ExperimentConfig) -> ExperimentConfig:
    """A checked, frozen copy with the data folder filled in.

    Raises:
      ValueError: a value has no meaning; the text names the flag and the choices.
    """
    config = copy.deepcopy(config)
    for part, registry in (("encoder", ENCODERS), ("decoder", DECODERS)):
        check_section(part, getattr(config, part), registry)
    config.data.check()
    check_finite(to_json(config))
    config.loss.check()
    config.self_critical.check()
    config.optimizer.check()
    config.train.check()
    _check_effects(config)
    if not (config.train.epochs or config.train.steps or config.init_from):
        raise ValueError(
            "train.epochs is 0, which scores a captioner; name it with --config.init_from=MODEL"
        )
    named = config.evaluation.published.split(",") if config.evaluation.published else []
    for name, choice, known in (
        ("search", config.evaluation.search, SEARCHES),
        ("metric", config.evaluation.metric, COLUMNS),
        *(("published", each, published()) for each in named),
    ):
        if choice not in known:
            raise ValueError(
                f"unknown evaluation.{name} {choice!r}; choose one of: {', '.join(known)}"
            )
    if config.evaluation.metric == "CLIP-text" and not config.evaluation.clip_text:
        raise ValueError(
            "evaluation.metric is 'CLIP-text' and evaluation.clip_text empty; set it to "
            "hf:openai/clip-vit-base-patch32, or to a folder"
        )
    parse_span(config.profile)
    for flag, value, least in (
        ("evaluation.beam", config.evaluation.beam, 1),
        ("evaluation.batch_size", config.evaluation.batch_size, 1),
        ("evaluation.patience", config.evaluation.patience, 0),
        ("evaluation.every", config.evaluation.every, 0),
        ("evaluation.images", config.evaluation.images, 0),
        ("evaluation.others", config.evaluation.others, 0),
    ):
        if value < least:
            raise ValueError(f"{flag} is {value}; expected {least} or more")
    if config.evaluation.others == 1:
        raise ValueError(
            "evaluation.others is 1; expected 0 for none, or 2 or more to compare with"
        )
    if config.data.cache_frame_means and not _reads_frames(config.decoder):
        raise ValueError(
            "data.cache_frame_means keeps one descriptor a frame, and this decoder reads every "
            "position; set decoder.scan or decoder.attend to 'frames', whichever it has"
        )
    config.data.name_captions()
    config.data.root = str(data_root(config.data.root))
    return freeze(config)


def check_finite(values: Any, name: str = "") -> None:
    """Raises ValueError for a number that is none: "nan" and "inf" are numbers to every parser."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            check_finite(value, f"{name}.{key}" if name else key)
    elif isinstance(values, list | tuple):
        for value in values:
            check_finite(value, name)
    elif isinstance(values, float) and not math.isfinite(values):
        raise ValueError(f"{name} is {values}; expected a finite number")


def _check_effects(config: ExperimentConfig) -> None:
    """Raises ValueError for settings that the other ones leave without effect, or meaning."""
    loss, train = config.loss, config.train
    hard = config.decoder.get("hard", False)
    if loss.samples > 1 and not hard:
        raise ValueError(
            f"loss.samples={loss.samples} draws positions of hard attention, which this decoder "
            "has not; set it to 1, or decoder.hard=True where the decoder has it"
        )
    if hard and loss.doubly_stochastic:
        raise ValueError(
            f"loss.doubly_stochastic={loss.doubly_stochastic} is a term of soft attention (the "
            "released code's hard attention gets no gradient of it); with decoder.hard=True set "
            "it to 0"
        )
    if train.remat and not config.optimizer.encoder_learning_rate:
        raise ValueError(
            "train.remat computes activations of a trained encoder again, and this one is frozen; "
            "leave it off, or set optimizer.encoder_learning_rate"
        )
    if config.self_critical.samples:
        _check_reward_alone(loss, train)


def _check_reward_alone(loss: LossConfig, train: LoopConfig) -> None:
    """Raises ValueError for settings that the stage of rewards does not read."""
    unread = {
        "loss.label_smoothing": loss.label_smoothing,
        "loss.doubly_stochastic": loss.doubly_stochastic,
        "loss.lone_position": loss.lone_position,
        "loss.scheduled_sampling": loss.scheduled_sampling,
        "loss.lambda_supervised": loss.lambda_supervised,
        "loss.clip_text": loss.clip_text,
        "train.remat": train.remat,
    }
    found = [f"{name}={value}" for name, value in unread.items() if value]
    if loss.samples > 1:
        found.append(f"loss.samples={loss.samples}")
    if found:
        raise ValueError(
            f"self_critical.samples trains on a reward alone, without {', '.join(found)}; leave "
            f"{'it' if len(found) == 1 else 'them'} off (0, 1 for loss.samples). The reward of the "
            "kind of loss.clip_text is self_critical.reward=CLIP"
        )


def _reads_frames(decoder: config_dict.ConfigDict) -> bool:
    """Whether a decoder is a function of frame means: it reads frames, or the mean of all."""
    return "frames" in (decoder.get("scan"), decoder.get("attend")) or decoder.name == "lstm"


def unknown_setting(config: Any, name: str) -> str | None:
    """What is wrong with a dotted name such as "train.batch_size"; None if it is a setting."""
    part: Any = config
    walked = "config"
    for field in name.split("."):
        if isinstance(part, (config_dict.ConfigDict, config_dict.FrozenConfigDict)):
            known = {key: part[key] for key in part}
        elif dataclasses.is_dataclass(part):
            known = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
        else:
            return f"{walked} is a value, so there is no --config.{name}"
        if field not in known:
            return (
                f"there is no setting --config.{name}: {walked} has no {field!r}; "
                f"it has: {', '.join(known)}"
            )
        part, walked = known[field], f"{walked}.{field}"
    return None


def to_json(config: Any) -> dict[str, Any]:
    """Plain nested values of settings, for `config.json`."""
    sections: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        elif isinstance(value, (config_dict.ConfigDict, config_dict.FrozenConfigDict)):
            value = value.to_dict()
        sections[field.name] = value
    return sections


def with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `config.json`, and the defaults of all settings that it was written without.

    Stored values that are no longer settings stay.
    """
    whole: dict[str, Any] = {}
    for field in dataclasses.fields(ExperimentConfig):
        if field.default_factory is not dataclasses.MISSING:
            whole[field.name] = dataclasses.asdict(field.default_factory())
        elif field.default is not dataclasses.MISSING:
            whole[field.name] = field.default
    for part, registry in (("encoder", ENCODERS), ("decoder", DECODERS)):
        name = stored[part]["name"]
        whole[part] = defaults(part, name, registry) if name in registry else {}
    whole["encoder"]["weights"] = ""
    whole = json.loads(json.dumps(whole))  # tuples are lists, as in a file
    for name, value in stored.items():
        whole[name] = {**whole.get(name, {}), **value} if isinstance(value, Mapping) else value
    return whole


def from_json(stored: Mapping[str, Any]) -> ExperimentConfig:
    """The settings of a `config.json`, those added since at their defaults.

    Raises:
      ValueError: it holds settings that this version does not know; the text names them.
    """
    whole = with_defaults(stored)
    unknown = sorted(set(whole) - {field.name for field in dataclasses.fields(ExperimentConfig)})
    sections: dict[str, Any] = {}
    for field in dataclasses.fields(ExperimentConfig):
        value = whole[field.name]
        if field.name in ("encoder", "decoder"):
            value = config_dict.ConfigDict({name: _tuples(own) for name, own in value.items()})
        elif field.default_factory is not dataclasses.MISSING:
            kind = field.default_factory
            known = {own.name for own in dataclasses.fields(kind())}
            unknown += [f"{field.name}.{name}" for name in sorted(set(value) - known)]
            value = kind(**{name: _tuples(own) for name, own in value.items() if name in known})
        sections[field.name] = value
    if unknown:
        raise ValueError(
            f"unknown settings {', '.join(unknown)}; they were written by another version of "
            "capjax, which can read them"
        )
    return ExperimentConfig(**sections)


def _tuples(value: Any) -> Any:
    """The value with tuples, which JSON writes as lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
