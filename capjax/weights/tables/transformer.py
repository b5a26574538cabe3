"""Rules that the tables of all transformers share."""

from capjax.weights.convert import Rule


def linear_rules(theirs: str, ours: str) -> list[Rule]:
    """Weight and bias of torch's Linear."""
    return [
        Rule(rf"{theirs}\.weight", f"{ours}/kernel", "OI"),
        Rule(rf"{theirs}\.bias", f"{ours}/bias"),
    ]


def norm_rules(theirs: str, ours: str) -> list[Rule]:
    """Weight and bias of a layer norm; files of the first BERTs call them gamma and beta."""
    return [
        Rule(rf"{theirs}\.(?:weight|gamma)", f"{ours}/scale"),
        Rule(rf"{theirs}\.(?:bias|beta)", f"{ours}/bias"),
    ]


def fused_rules(theirs: str, ours: str) -> list[Rule]:
    """Query, key and value one below the other in a Linear; `theirs` goes on with its leaf."""
    parts = ("query", "key", "value")
    return [
        Rule(rf"{theirs}weight", tuple(f"{ours}{part}/kernel" for part in parts), "OI"),
        Rule(rf"{theirs}bias", tuple(f"{ours}{part}/bias" for part in parts)),
    ]
