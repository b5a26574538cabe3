"""EfficientNetV2: files of Keras, timm's `tf_efficientnetv2_*` and torchvision.

The three number their layers differently; the module's `weights_of` must name the library, because
the same weights need another padding or other pixels there.
"""

import re
from collections.abc import Callable, Sequence

from capjax.encoders.efficientnet import SIZES, EfficientNetV2, Stage
from capjax.weights.convert import Arrays, Rule, Table

# Their names of a batch norm's arrays -> ours.
TORCH_NORM = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
KERAS_NORM = {
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}
MARKERS = {
    "keras": "stem_conv/kernel",
    "timm": "conv_stem.weight",
    "torchvision": "features.0.0.weight",
}
KERAS_KEY = re.compile(r"(?:.*/)?((?:block\d+[a-z]|stem|top|predictions)\w*/(?:.*/)?\w+)(?::0)?")


def efficientnet_layouts(encoder: EfficientNetV2) -> Sequence[Table]:
    """One table for each library; classifiers and layers after the output are ignored."""
    stages = SIZES[encoder.size].stages
    later = "|".join(str(number + 1) for number in range(encoder.stage_count, len(stages)))
    has_top = encoder.output == "top_activation"
    torchvision, timm = _torchvision_rules(stages), _timm_rules(stages)
    keras = _keras_rules(stages)
    ignored = {
        "torchvision": [r"classifier\..*", r".*\.num_batches_tracked"],
        "timm": [r"classifier\..*", r".*\.num_batches_tracked"],
        "keras": [r"predictions/.*"],
    }
    if later:
        ignored["torchvision"] += [rf"features\.({later})\..*"]
        before = "|".join(str(number) for number in range(encoder.stage_count, len(stages)))
        ignored["timm"] += [rf"blocks\.({before})\..*"]
        ignored["keras"] += [rf"block({later})\..*"]
    if not has_top:
        ignored["torchvision"] += [rf"features\.{len(stages) + 1}\..*"]
        ignored["timm"] += [r"conv_head\..*", r"bn2\..*"]
        ignored["keras"] += [r"top_.*"]
    return [
        Table(rules, ignored[layout], layout, _prepare(encoder, layout))
        for layout, rules in (("keras", keras), ("timm", timm), ("torchvision", torchvision))
    ]


def _prepare(encoder: EfficientNetV2, layout: str) -> Callable[[Arrays], Arrays]:
    """Keys as the rules expect them; refuses weights of another library than `weights_of`."""

    def prepare(source: Arrays) -> Arrays:
        if layout == "keras":
            source = {_keras_name(key): array for key, array in source.items()}
        if MARKERS[layout] in source and layout != encoder.weights_of:
            raise ValueError(
                f"these are weights of {layout}, and the encoder has weights_of="
                f"{encoder.weights_of!r}; set weights_of={layout!r}, which pads and scales for them"
            )
        return source

    return prepare


def _keras_name(key: str) -> str:
    """`…/block4b_expand_bn/gamma:0` as `block4.1/expand_bn/gamma`: blocks by number."""
    match = re.fullmatch(KERAS_KEY, key)
    if match is None:
        return key
    return re.sub(r"block(\d+)([a-z])_", lambda m: f"block{m[1]}.{ord(m[2]) - ord('a')}/", match[1])


def _torchvision_rules(stages: Sequence[Stage]) -> list[Rule]:
    rules = [
        *_torch_unit(r"features\.0\.0", r"features\.0\.1", "stem"),
        *_torch_unit(rf"features\.{len(stages) + 1}\.0", rf"features\.{len(stages) + 1}\.1", "top"),
    ]
    for number, stage in enumerate(stages, start=1):
        for place, unit in enumerate(_units(stage)):
            theirs = rf"features\.{number}\.(\d+)\.block\.{place}"
            ours = rf"stage{number}_\1/{unit}"
            if unit == "se":
                rules += _torch_dense(rf"{theirs}\.fc1", f"{ours}/reduce")
                rules += _torch_dense(rf"{theirs}\.fc2", f"{ours}/expand")
            else:
                rules += _torch_unit(rf"{theirs}\.0", rf"{theirs}\.1", ours)
    return rules


def _timm_rules(stages: Sequence[Stage]) -> list[Rule]:
    rules = [
        *_torch_unit("conv_stem", "bn1", "stem"),
        *_torch_unit("conv_head", "bn2", "top"),
    ]
    for number, stage in enumerate(stages, start=1):
        names = {"expand": "conv_exp" if stage.fused else "conv_pw", "depthwise": "conv_dw"}
        units = _units(stage)
        names["project"] = "conv" if len(units) == 1 else "conv_pwl"
        block, ours = rf"blocks\.{number - 1}\.(\d+)", rf"stage{number}_\1"
        for place, unit in enumerate([unit for unit in units if unit != "se"], start=1):
            rules += _torch_unit(
                rf"{block}\.{names[unit]}", rf"{block}\.bn{place}", f"{ours}/{unit}"
            )
        if "se" in units:
            rules += _torch_dense(rf"{block}\.se\.conv_reduce", f"{ours}/se/reduce")
            rules += _torch_dense(rf"{block}\.se\.conv_expand", f"{ours}/se/expand")
    return rules


def _keras_rules(stages: Sequence[Stage]) -> list[Rule]:
    rules = [
        *_keras_unit("stem_conv", "stem_bn", "stem"),
        *_keras_unit("top_conv", "top_bn", "top"),
    ]
    for number, stage in enumerate(stages, start=1):
        for unit in _units(stage):
            theirs, ours = rf"block{number}\.(\d+)", rf"stage{number}_\1/{unit}"
            if unit == "depthwise":
                rules += _keras_unit(rf"{theirs}/dwconv2", rf"{theirs}/bn", ours)
            elif unit == "se":
                for part in ("reduce", "expand"):
                    name = rf"{theirs}/se_{part}/(kernel|bias)"
                    rules += [Rule(name, rf"params/{ours}/{part}/\2")]
            else:
                rules += _keras_unit(rf"{theirs}/{unit}_conv", rf"{theirs}/{unit}_bn", ours)
    return rules


def _units(stage: Stage) -> Sequence[str]:
    """What a block of the stage is made of, in torchvision's order."""
    if not stage.fused:
        return ("expand", "depthwise", "se", "project")
    return ("project",) if stage.expand == 1 else ("expand", "project")


def _kernel(ours: str) -> str:
    return f"params/{ours}/kernel" if ours.endswith("/depthwise") else f"params/{ours}/conv/kernel"


def _torch_unit(convolution: str, norm: str, ours: str) -> list[Rule]:
    return [
        Rule(rf"{convolution}\.weight", _kernel(ours), "OIHW"),
        *(
            Rule(rf"{norm}\.{theirs}", f"{collection}/{ours}/norm/{leaf}")
            for theirs, (collection, leaf) in TORCH_NORM.items()
        ),
    ]


def _torch_dense(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(rf"{theirs}\.weight", f"params/{ours}/kernel", "OIHW"),
        Rule(rf"{theirs}\.bias", f"params/{ours}/bias"),
    ]


def _keras_unit(convolution: str, norm: str, ours: str) -> list[Rule]:
    is_depthwise = ours.endswith("/depthwise")
    kernel = "(?:depthwise_)?kernel" if is_depthwise else "kernel"
    return [
        Rule(f"{convolution}/{kernel}", _kernel(ours), "HWCM" if is_depthwise else "same"),
        *(
            Rule(f"{norm}/{theirs}", f"{collection}/{ours}/norm/{leaf}")
            for theirs, (collection, leaf) in KERAS_NORM.items()
        ),
    ]
