"""What the JSON files of a ViT-GPT2 folder say, strictly: an unsupported value is an error.

Values that are not there are transformers' defaults. Values that no output depends on (initial
deviations, versions, poolers) are not looked at.
"""

from collections.abc import Mapping
from typing import Any

from capjax.decoders import GPT2
from capjax.decoding import Decoding, Greedy, HuggingFaceBeam
from capjax.encoders import ViT
from capjax.encoders.vit import SOURCES
from capjax.types import Preprocessing
from capjax.weights.json_settings import Settings

CONFIG, GENERATION = "config.json", "generation_config.json"
Json = Mapping[str, Any]

DOCUMENTED: Mapping[str, Json] = {
    "nlpconnect/vit-gpt2-image-captioning": {"num_beams": 4, "max_length": 16},
}
"""Settings that the page of a model of the hub states and its files do not."""

UNSET_LENGTH = 20
"""New tokens that `generate` writes at most where no length is set."""

_EPSILON = SOURCES["transformers"][0]
_ENCODER = {"model_type": "vit", "hidden_act": "gelu", "qkv_bias": True, "num_channels": 3}
_DECODER = {
    "model_type": "gpt2",
    "add_cross_attention": True,
    "tie_word_embeddings": True,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}
# Options of transformers that change what is written, at values that change nothing.
_GENERATION: Json = {
    "do_sample": (False, None),
    "no_repeat_ngram_size": (0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "repetition_penalty": (1.0, None),
    "encoder_repetition_penalty": (1.0, None),
    "num_beam_groups": (1, None),
    "diversity_penalty": (0.0, None),
    "min_length": (0, None),
    "min_new_tokens": (0, None),
    **{
        name: (None, [])
        for name in (
            *("bad_words_ids", "force_words_ids", "constraints", "sequence_bias"),
            *("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids"),
            *("suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty"),
            *("penalty_alpha", "guidance_scale", "stop_strings"),
        )
    },
}


def read_encoder(config: Json) -> ViT:
    """The encoder of a `config.json`.

    Raises:
      ValueError: a value is missing, of another type or unsupported; the text names it.
    """
    whole = Settings(config, CONFIG)
    _expect(whole, {"model_type": "vision-encoder-decoder"})
    section = whole.section("encoder")
    _expect(section, _ENCODER)
    epsilon = section.positive("layer_norm_eps", _EPSILON)
    return ViT(
        patch=section.integer("patch_size", 16),
        width=section.integer("hidden_size", 768),
        layers=section.integer("num_hidden_layers", 12),
        heads=section.integer("num_attention_heads", 12),
        mlp=section.integer("intermediate_size", 3072),
        size=section.side("image_size", 224),
        epsilon=None if epsilon == _EPSILON else epsilon,
    )


def read_decoder(config: Json, generation: Json) -> GPT2:
    """The decoder of a `config.json`, and its first input; errors as in `read_encoder`."""
    whole = Settings(config, CONFIG)
    section = whole.section("decoder")
    _expect(section, _DECODER)
    activation = section.values.get("activation_function", "gelu_new")
    if activation not in ("gelu_new", "gelu_pytorch_tanh"):  # two names of one function
        raise section.wrong("activation_function", "'gelu_new'")
    width = section.integer("n_embd", 768)
    features = whole.section("encoder").integer("hidden_size", 768)
    if features != width:
        raise ValueError(
            f"the encoder's hidden_size is {features} and the decoder's n_embd {width}; supported "
            "are equal sizes, without a projection (enc_to_dec_proj) between them"
        )
    inner = None if section.values.get("n_inner") is None else section.integer("n_inner")
    vocabulary = section.integer("vocab_size", 50257)
    return GPT2(
        vocab_size=vocabulary,
        features=features,
        width=width,
        layers=section.integer("n_layer", 12),
        heads=section.integer("n_head", 12),
        mlp=inner or 4 * width,
        positions=section.integer("n_positions", 1024),
        start_token=_start_token(whole, Settings(generation, GENERATION), vocabulary),
        epsilon=section.positive("layer_norm_epsilon", 1e-5),
        embedding_dropout=section.number("embd_pdrop", 0.1),
        attention_dropout=section.number("attn_pdrop", 0.1),
        residual_dropout=section.number("resid_pdrop", 0.1),
    )


def _start_token(config: Settings, generation: Settings, vocabulary: int) -> int:
    """What transformers' `generate` writes first.

    `generation_config.json` comes before `config.json`, whose own ids come before its decoder's;
    in each a start of the decoder before a start of texts.
    """
    names = ("decoder_start_token_id", "bos_token_id")
    found = generation.token(*names)
    if found is None:
        decoder = config.section("decoder")
        each = (section.token(name) for name in names for section in (config, decoder))
        found = next((token for token in each if token is not None), 50256)
    if found >= vocabulary:
        raise ValueError(
            f"captions begin with the token {found} (decoder_start_token_id or bos_token_id), and "
            f"the decoder has {vocabulary} embeddings; the files belong to different models"
        )
    return found


def read_end_token(config: Json, generation: Json) -> int:
    """The id that ends a caption."""
    whole = Settings(config, CONFIG)
    for section in (Settings(generation, GENERATION), whole, whole.section("decoder")):
        found = section.values.get("eos_token_id")
        if isinstance(found, list) and len(found) == 1:
            section = Settings({"eos_token_id": found[0]}, section.where)
        if found is not None:
            return section.integer("eos_token_id", least=0)
    raise ValueError("config.json has no eos_token_id; expected the id that ends a caption")


def read_preprocessing(config: Json, encoder: ViT) -> Preprocessing:
    """What a `preprocessor_config.json` does to a photograph; errors as in `read_encoder`."""
    values = Settings(config, "preprocessor_config.json")
    on = {"do_resize": True, "do_normalize": True, "do_rescale": True}
    _expect(values, {**on, "do_center_crop": False})
    size = values.side("size", 224)
    if size != encoder.size:
        raise ValueError(
            f"{values.where} resizes to {size}, and the encoder's image_size is {encoder.size}; "
            "supported are equal sizes"
        )
    filters = {2: "bilinear", 3: "bicubic"}
    resample = values.integer("resample", 2, least=0)
    if resample not in filters:
        raise ValueError(f"{values.where} has resample={resample!r}; supported are {filters}")
    scale = values.positive("rescale_factor", 1 / 255)
    # The scale is 1 / 255 in 16 digits: what is meant is 127.5.
    mean, std = (
        tuple(round(value / scale, 6) for value in values.colours(name, 0.5))
        for name in ("image_mean", "image_std")
    )
    return Preprocessing(
        size=size,
        resample=filters[resample],  # type: ignore[arg-type]
        mean=mean,  # type: ignore[arg-type]
        std=std,  # type: ignore[arg-type]
    )


def read_decoding(
    config: Json, generation: Json | None, documented: Json | None = None
) -> tuple[Decoding, int]:
    """How transformers' `generate` (5.24) writes, and the longest caption in our count.

    Its `max_length` counts the start token, ours does not. Where none is set it writes 20 tokens
    after the start token, by one beam where no number is.

    Args:
      config: `config.json`, of which older models have these settings, its own before its
        decoder's; not looked at where there is a `generation_config.json`.
      generation: `generation_config.json`, if there is one.
      documented: what the model's page says, before what older versions wrote of themselves into
        `config.json`.

    Raises:
      ValueError: a file asks for what changes captions in other ways; the text names it.
    """
    where, given = GENERATION, {**(documented or {}), **_set(generation)}
    if generation is None:
        where, given = CONFIG, {**_set(config.get("decoder")), **_set(config), **given}
    for name, allowed in _GENERATION.items():
        if name in given and given[name] not in allowed:
            raise ValueError(
                f"{where} has {name}={given[name]!r}, which is not supported; remove it, or set "
                f"it to {allowed[0]!r}"
            )
    stated = Settings(given, where)
    if "max_new_tokens" in stated.values:
        longest = stated.integer("max_new_tokens")
    elif "max_length" in stated.values:
        longest = stated.integer("max_length", least=2) - 1
    else:
        longest = UNSET_LENGTH
    width = stated.integer("num_beams", 1)
    early = stated.values.get("early_stopping", False)
    if not isinstance(early, bool) and early != "never":
        raise stated.wrong("early_stopping", "true, false or 'never'")
    penalty = stated.number("length_penalty", 1.0)
    if width == 1:
        return Greedy(), longest
    return HuggingFaceBeam(width, penalty, early), longest


def _set(values: Any) -> dict[str, Any]:
    """The settings that have a value; none of what is no section of settings."""
    section = values if isinstance(values, Mapping) else {}
    return {name: value for name, value in section.items() if value is not None}


def _expect(section: Settings, wanted: Json) -> None:
    values = section.values
    for name, value in wanted.items():
        if name != "model_type" and name not in values and name != "add_cross_attention":
            continue
        if values.get(name) != value:
            raise ValueError(
                f"{section.where} has {name}={values.get(name)!r}; supported is {value!r}"
            )
