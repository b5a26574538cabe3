"""InceptionV3: torchvision's names, the graph of 2015, and Keras' layers by their order.

The variants without a scale in batch norm read files that have one all the same: it goes into the
kernel and the mean, which gives the same outputs.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from capjax.encoders.inception import BLOCKS, EPSILON, InceptionV3, blocks_up_to, units_of
from capjax.weights.convert import Rule, Table

Arrays = Mapping[str, np.ndarray]

# Our block or stem unit -> torchvision's, which timm and pytorch-fid's port share.
TORCHVISION = {
    "conv_0": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
    "mixed_0": "Mixed_5b",
    "mixed_1": "Mixed_5c",
    "mixed_2": "Mixed_5d",
    "mixed_3": "Mixed_6a",
    "mixed_4": "Mixed_6b",
    "mixed_5": "Mixed_6c",
    "mixed_6": "Mixed_6d",
    "mixed_7": "Mixed_6e",
    "mixed_8": "Mixed_7a",
    "mixed_9": "Mixed_7b",
    "mixed_10": "Mixed_7c",
}

# The graph's units of each kind of block, in the order of `units_of`.
_GRAPH_35 = (
    "conv",
    *("tower/conv", "tower/conv_1"),
    *("tower_1/conv", "tower_1/conv_1", "tower_1/conv_2"),
    "tower_2/conv",
)
_GRAPH_17 = (
    "conv",
    *("tower/conv", "tower/conv_1", "tower/conv_2"),
    *("tower_1/conv", "tower_1/conv_1", "tower_1/conv_2", "tower_1/conv_3", "tower_1/conv_4"),
    "tower_2/conv",
)
_GRAPH_8 = (
    "conv",
    *("tower/conv", "tower/mixed/conv", "tower/mixed/conv_1"),
    *("tower_1/conv", "tower_1/conv_1", "tower_1/mixed/conv", "tower_1/mixed/conv_1"),
    "tower_2/conv",
)
GRAPH = {
    "mixed_0": _GRAPH_35,
    "mixed_1": _GRAPH_35,
    "mixed_2": _GRAPH_35,
    "mixed_3": ("conv", "tower/conv", "tower/conv_1", "tower/conv_2"),
    "mixed_4": _GRAPH_17,
    "mixed_5": _GRAPH_17,
    "mixed_6": _GRAPH_17,
    "mixed_7": _GRAPH_17,
    "mixed_8": (
        *("tower/conv", "tower/conv_1"),
        *("tower_1/conv", "tower_1/conv_1", "tower_1/conv_2", "tower_1/conv_3"),
    ),
    "mixed_9": _GRAPH_8,
    "mixed_10": _GRAPH_8,
}

_KERAS_KEY = re.compile(
    r"(?:.*/)?(conv2d|batch_normalization)(?:_(\d+))?"
    r"/(?:.*/)?(kernel|beta|moving_mean|moving_variance)(?::0)?"
)
_CLASSES_2015 = 1008
_SCALES, _EPSILON = "scale_after_normalization", "variance_epsilon"


def inception_layouts(encoder: InceptionV3) -> Sequence[Table]:
    """The layouts in which weights of the encoder's variant are published.

    "tf2015": `classify_image_graph_def.pb` and pytorch-fid's port of it, in torchvision's names.
    "keras": Keras' own files, and TF-Slim's weights as timm has them (`tf_in1k`, `tf_adv_in1k`),
    in torchvision's names; timm runs those with torchvision's borders, which they were not trained
    with. "torchvision": torchvision's, and timm's `tv_in1k`.
    """
    if encoder.variant == "tf2015":
        return (_torchvision(encoder), _graph(encoder))
    if encoder.variant == "keras":
        return (_torchvision(encoder), _keras(encoder))
    return (_torchvision(encoder),)


def _torchvision(encoder: InceptionV3) -> Table:
    scaled = encoder.variant == "torchvision"
    leaves = [
        (r"conv\.weight", "params", "conv/kernel", "OIHW"),
        (r"bn\.bias", "params", "norm/bias", "same"),
        (r"bn\.running_mean", "batch_stats", "norm/mean", "same"),
        (r"bn\.running_var", "batch_stats", "norm/var", "same"),
    ]
    if scaled:
        leaves.append((r"bn\.weight", "params", "norm/scale", "same"))
    kept = blocks_up_to(encoder.output)
    rules, later = [], []
    for ours, theirs in TORCHVISION.items():
        if ours in BLOCKS and ours not in kept:
            later.append(rf"{theirs}\..*")
            continue
        # A block's units follow its name; the stem's are named by themselves.
        key, unit = (
            (rf"{theirs}\.(branch\w+)\.", r"/\1") if ours in BLOCKS else (rf"{theirs}\.", "")
        )
        rules += [
            Rule(key + leaf, f"{collection}/{ours}{unit}/{name}", transform)
            for leaf, collection, name, transform in leaves
        ]

    def prepare(arrays: Arrays) -> Arrays:
        _check_form(arrays, encoder.variant)
        return arrays if scaled else _without_scale(arrays, ".bn.weight", _TORCHVISION_SCALE)

    return Table(
        rules,
        ignored=(r"(fc|AuxLogits)\..*", r".*\.num_batches_tracked", *later),
        layout="torchvision",
        prepare=prepare,
    )


def _graph(encoder: InceptionV3) -> Table:
    """Const nodes: kernels are HWIO already; those that hold no weights are ignored."""
    names = {unit: unit for unit in ("conv_1", "conv_2", "conv_3", "conv_4")} | {"conv": "conv_0"}
    for block, theirs in GRAPH.items():
        scope = "mixed" if block == "mixed_0" else block
        for unit, name in zip(units_of(block), theirs, strict=True):
            names[f"{scope}/{name}"] = f"{block}/{unit.name}"

    def prepare(arrays: Arrays) -> Arrays:
        renamed = {}
        for key, array in arrays.items():
            match = re.fullmatch(r"(.+?)/(conv2d_params|batchnorm/\w+)", key)
            unit = names.get(match[1]) if match else None
            renamed[f"{unit}/{match[2]}" if match and unit else key] = array
        return _without_scale(_as_run(renamed), "/batchnorm/gamma", _GRAPH_SCALE)

    constants = (
        r"softmax/(weights|biases)",
        r"(.*/)?join/concat_dim",
        r"pool_3/_reshape/shape",
        r"DecodeJpeg/contents|ExpandDims/dim|ResizeBilinear/size|(Sub|Mul)/y",
    )
    return Table(
        _flat_rules("conv2d_params", "batchnorm/"),
        ignored=(*constants, *_later(encoder)),
        layout="graph of 2015",
        prepare=prepare,
    )


def _keras(encoder: InceptionV3) -> Table:
    """Layers are numbered through a session: only their order tells which they are."""
    names = [
        unit.name if block == "stem" else f"{block}/{unit.name}"
        for block in ("stem", *BLOCKS)
        for unit in units_of(block)
    ]

    def prepare(arrays: Arrays) -> Arrays:
        found = {key: _KERAS_KEY.fullmatch(key) for key in arrays}
        numbers = {
            kind: sorted({int(m[2] or 0) for m in found.values() if m and m[1] == kind})
            for kind in ("conv2d", "batch_normalization")
        }
        renamed = {}
        for key, match in found.items():
            if match:
                place = numbers[match[1]].index(int(match[2] or 0))
                unit = names[place] if place < len(names) else f"{match[1]} number {place}"
                renamed[f"{unit}/{match[3]}"] = arrays[key]
            else:
                renamed[key] = arrays[key]
        return renamed

    return Table(
        _flat_rules("kernel", ""),
        ignored=(r"(.*/)?predictions/.*", *_later(encoder)),
        layout="keras",
        prepare=prepare,
    )


def _flat_rules(kernel: str, norm: str) -> tuple[Rule, ...]:
    """Rules for keys whose units have our names already, and whose leaves are TensorFlow's."""
    unit = r"(conv_\d|mixed_\d+/branch\w+)"
    return (
        Rule(f"{unit}/{kernel}", r"params/\1/conv/kernel"),
        Rule(f"{unit}/{norm}beta", r"params/\1/norm/bias"),
        Rule(f"{unit}/{norm}moving_mean", r"batch_stats/\1/norm/mean"),
        Rule(f"{unit}/{norm}moving_variance", r"batch_stats/\1/norm/var"),
    )


def _later(encoder: InceptionV3) -> list[str]:
    kept = blocks_up_to(encoder.output)
    return [f"{block}/.*" for block in BLOCKS if block not in kept]


# Of a unit: the kernel with its axis of outputs, and the mean.
_TORCHVISION_SCALE = (".conv.weight", 0, ".bn.running_mean")
_GRAPH_SCALE = ("/conv2d_params", 3, "/batchnorm/moving_mean")


def _as_run(arrays: Arrays) -> Arrays:
    """Constants of the graph as its operation uses them, without the operation's settings.

    BatchNormWithGlobalNormalization multiplies by gamma only where it is told to scale, though the
    file holds gammas either way; an epsilon that is not ours goes into the variance.
    """
    result = dict(arrays)
    for key in [key for key in arrays if key.endswith("/batchnorm/gamma")]:
        unit = key.removesuffix("/batchnorm/gamma")
        scales = arrays.get(f"{unit}/batchnorm/{_SCALES}")
        if scales is None and not np.all(arrays[key] == 1):
            raise ValueError(
                f"the unit {unit} has a gamma, and nothing says whether it is used (the setting "
                f"{_SCALES} of its operation); give the graph's own file"
            )
        if scales is not None and not scales:
            del result[key]
    for key in [key for key in arrays if key.endswith(f"/batchnorm/{_EPSILON}")]:
        more = np.float32(arrays[key]) - np.float32(EPSILON)
        variance = key.replace(_EPSILON, "moving_variance")
        if more and variance in result:
            result[variance] = result[variance] + more
    settings = (f"/batchnorm/{_SCALES}", f"/batchnorm/{_EPSILON}")
    return {key: array for key, array in result.items() if not key.endswith(settings)}


def _without_scale(arrays: Arrays, scale: str, others: tuple[str, int, str]) -> Arrays:
    """scale * (kernel x - mean) = (scale kernel) x - scale mean, so that no scale is left."""
    kernel, axis, mean = others
    result = {key: array for key, array in arrays.items() if not key.endswith(scale)}
    for key in arrays.keys() - result.keys():
        unit = key.removesuffix(scale)
        if unit + kernel in result and unit + mean in result:
            gain = np.asarray(arrays[key], np.float32)
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            result[unit + kernel] = result[unit + kernel] * gain.reshape(shape)
            result[unit + mean] = result[unit + mean] * gain
        else:
            result[key] = arrays[key]
    return result


def _check_form(arrays: Arrays, variant: str) -> None:
    """Refuses what is known to be of another form: all three fit, and give other features.

    The graph of 2015 tells 1008 classes apart and its successors 1000; of all published weights
    only torchvision's hold the auxiliary classifier (timm says so too).
    """
    classes = arrays["fc.weight"].shape[0] if "fc.weight" in arrays else None
    if classes is not None and (classes == _CLASSES_2015) != (variant == "tf2015"):
        expected = f"{_CLASSES_2015}" if variant == "tf2015" else "1000"
        remedy = "'torchvision' or 'keras'" if variant == "tf2015" else "'tf2015'"
        raise ValueError(
            f"these weights of InceptionV3 tell {classes} classes apart; expected {expected} for "
            f"the encoder's variant: set its variant to {remedy}"
        )
    if variant != "torchvision" and any(key.startswith("AuxLogits.") for key in arrays):
        raise ValueError(
            "these weights of InceptionV3 have an auxiliary classifier (AuxLogits), so they are "
            f"torchvision's; the encoder's variant is {variant!r}: set it to 'torchvision'"
        )
