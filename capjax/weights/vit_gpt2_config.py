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

Json = Mapping[str, Any]

DOCUMENTED = {"num_beams": 4, "max_length": 16}
"""How `nlpconnect/vit-gpt2-image-captioning` is meant to be used, which its files do not say."""

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
      ValueError: a value is missing or unsupported; the text names it.
    """
    _expect(config, {"model_type": "vision-encoder-decoder"}, "config.json")
    section = _section(config, "encoder")
    _expect(section, _ENCODER, "encoder of config.json")
    size = section.get("image_size", 224)
    epsilon = float(section.get("layer_norm_eps", _EPSILON))
    return ViT(
        patch=_integer(section, "patch_size", 16),
        width=_integer(section, "hidden_size", 768),
        layers=_integer(section, "num_hidden_layers", 12),
        heads=_integer(section, "num_attention_heads", 12),
        mlp=_integer(section, "intermediate_size", 3072),
        size=(size, size) if isinstance(size, int) else tuple(size),
        epsilon=None if epsilon == _EPSILON else epsilon,
    )


def read_decoder(config: Json) -> GPT2:
    """The decoder of a `config.json`; errors as in `read_encoder`."""
    section = _section(config, "decoder")
    _expect(section, _DECODER, "decoder of config.json")
    activation = section.get("activation_function", "gelu_new")
    if activation not in ("gelu_new", "gelu_pytorch_tanh"):  # two names of one function
        raise ValueError(
            f"decoder of config.json has activation_function={activation!r}; supported is "
            "'gelu_new'"
        )
    width = _integer(section, "n_embd", 768)
    features = _integer(_section(config, "encoder"), "hidden_size", 768)
    if features != width:
        raise ValueError(
            f"the encoder's hidden_size is {features} and the decoder's n_embd {width}; supported "
            "are equal sizes, without a projection (enc_to_dec_proj) between them"
        )
    start = config.get("decoder_start_token_id", section.get("bos_token_id", 50256))
    return GPT2(
        vocab_size=_integer(section, "vocab_size", 50257),
        features=features,
        width=width,
        layers=_integer(section, "n_layer", 12),
        heads=_integer(section, "n_head", 12),
        mlp=section.get("n_inner") or 4 * width,
        positions=_integer(section, "n_positions", 1024),
        start_token=int(start),
        epsilon=float(section.get("layer_norm_epsilon", 1e-5)),
        embedding_dropout=float(section.get("embd_pdrop", 0.1)),
        attention_dropout=float(section.get("attn_pdrop", 0.1)),
        residual_dropout=float(section.get("resid_pdrop", 0.1)),
    )


def read_end_token(config: Json, generation: Json) -> int:
    """The id that ends a caption."""
    for values in (generation, config, _section(config, "decoder")):
        if values.get("eos_token_id") is not None:
            found = values["eos_token_id"]
            single = found[0] if isinstance(found, list) and len(found) == 1 else found
            if not isinstance(single, int):
                raise ValueError(f"got eos_token_id={found!r}; supported is one id")
            return single
    raise ValueError("config.json has no eos_token_id; expected the id that ends a caption")


def read_preprocessing(config: Json, encoder: ViT) -> Preprocessing:
    """What a `preprocessor_config.json` does to a photograph; errors as in `read_encoder`."""
    where = "preprocessor_config.json"
    on = {"do_resize": True, "do_normalize": True, "do_rescale": True}
    _expect(config, {**on, "do_center_crop": False}, where)
    size = config.get("size", {"height": 224, "width": 224})
    if isinstance(size, Mapping):
        if set(size) != {"height", "width"}:
            raise ValueError(f"{where} has size={dict(size)}; supported are height and width")
        size = (size["height"], size["width"])
    size = (size, size) if isinstance(size, int) else tuple(size)
    if size != encoder.size:
        raise ValueError(
            f"{where} resizes to {size}, and the encoder's image_size is {encoder.size}; "
            "supported are equal sizes"
        )
    filters = {2: "bilinear", 3: "bicubic"}
    resample = config.get("resample", 2)
    if resample not in filters:
        raise ValueError(f"{where} has resample={resample!r}; supported are {filters}")
    scale = float(config.get("rescale_factor", 1 / 255))
    half = [0.5, 0.5, 0.5]
    mean, std = (config.get(name) or half for name in ("image_mean", "image_std"))
    return Preprocessing(
        size=size,
        resample=filters[resample],  # type: ignore[arg-type]
        # The scale is 1 / 255 in 16 digits: what is meant is 127.5.
        mean=tuple(round(value / scale, 6) for value in mean),  # type: ignore[arg-type]
        std=tuple(round(value / scale, 6) for value in std),  # type: ignore[arg-type]
    )


def read_decoding(generation: Json) -> tuple[Decoding, int]:
    """The method of a `generation_config.json`, and the longest caption in our count.

    What it leaves open is as the model is meant to be used (`DOCUMENTED`). transformers'
    `max_length` counts the start token, ours does not.

    Raises:
      ValueError: it asks for what changes captions in other ways; the text names it.
    """
    for name, allowed in _GENERATION.items():
        if name in generation and generation[name] not in allowed:
            raise ValueError(
                f"generation_config.json has {name}={generation[name]!r}, which is not supported; "
                f"remove it, or set it to {allowed[0]!r}"
            )
    stated = {**DOCUMENTED, **{k: v for k, v in generation.items() if v is not None}}
    longest = stated.get("max_new_tokens", stated["max_length"] - 1)
    if stated["num_beams"] == 1:
        return Greedy(), longest
    method = HuggingFaceBeam(
        width=stated["num_beams"],
        length_penalty=float(stated.get("length_penalty", 1.0)),
        early_stopping=stated.get("early_stopping", False),
    )
    return method, longest


def _section(config: Json, name: str) -> Json:
    found = config.get(name)
    if not isinstance(found, Mapping):
        raise ValueError(
            f"config.json has no {name!r}; expected the config of a VisionEncoderDecoderModel"
        )
    return found


def _expect(values: Json, wanted: Json, where: str) -> None:
    for name, value in wanted.items():
        if name != "model_type" and name not in values and name != "add_cross_attention":
            continue
        if values.get(name) != value:
            raise ValueError(f"{where} has {name}={values.get(name)!r}; supported is {value!r}")


def _integer(section: Json, name: str, default: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"config.json has {name}={value!r}; expected a positive number")
    return value
