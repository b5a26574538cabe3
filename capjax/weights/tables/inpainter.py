"""Weight files of the gated-convolution inpainter: the released checkpoint and its usual port.

The released checkpoint is one of TensorFlow, whose variables an `.npz` holds by name; see
`capjax.inpaint.released`, which knows how to make it. The port to PyTorch saves one state dict for
the generator, "G", and one for the discriminator, "D", under names of its own.
"""

from collections.abc import Sequence

from capjax.weights.convert import Arrays, Rule, Table

TENSORFLOW, PORT = "TensorFlow", "the PyTorch port"
OPTIMISERS = (r".*/Adam(?:_\d+)?", r"beta[12]_power(?:_\d+)?", r"lr", r"global_step")
"""What a checkpoint of TensorFlow keeps for its optimisers."""
GENERATOR, DISCRIMINATOR = r"inpaint_net/.*", r"discriminator/.*"


def generator_layouts() -> Sequence[Table]:
    """Names of the generator's variables; the discriminator's and the optimisers' are ignored."""
    tensorflow = (
        Rule(r"inpaint_net/(\w+)/(kernel|bias)", r"params/\1/\2"),
        Rule(r"inpaint_net/(\w+_upsample)/\1_conv/(kernel|bias)", r"params/\1/\2"),
    )
    port = (
        Rule(r"(\w+)\.conv\.weight", r"params/\1/kernel", "OIHW"),
        Rule(r"(\w+)\.conv\.bias", r"params/\1/bias"),
        Rule(r"(\w+_upsample)\.conv\.conv\.weight", r"params/\1/kernel", "OIHW"),
        Rule(r"(\w+_upsample)\.conv\.conv\.bias", r"params/\1/bias"),
    )
    return (
        Table(tensorflow, (*OPTIMISERS, DISCRIMINATOR), layout=TENSORFLOW),
        Table(port, layout=PORT, prepare=_not_the_other),
    )


def _not_the_other(source: Arrays) -> Arrays:
    """Refuses the port's second network, which pads and computes in another way."""
    if any(key.startswith("stage1.") for key in source):
        raise ValueError(
            "the file is of the port's own network (stage1, stage2), which pads in another way; "
            "give the one with the converted weights, states_tf_…"
        )
    return source


def discriminator_layouts() -> Sequence[Table]:
    """Names of the discriminator's variables and of its vectors u; others are ignored.

    The port's `weight_v`, where a file has it, follows from `weight` and `weight_u`.
    """
    tensorflow = (
        Rule(r"discriminator/sn_patch_gan/(conv\d)/(kernel|bias)", r"params/\1/\2"),
        Rule(r"discriminator/sn_patch_gan/(conv\d)/kernel_sn/u", r"spectral/\1/u"),
    )
    port = (
        Rule(r"(conv\d)\.conv_sn\.weight", r"params/\1/kernel", "OIHW"),
        Rule(r"(conv\d)\.conv_sn\.bias", r"params/\1/bias"),
        Rule(r"(conv\d)\.conv_sn\.weight_u", r"spectral/\1/u", "OI"),
    )
    return (
        Table(tensorflow, (*OPTIMISERS, GENERATOR), layout=TENSORFLOW),
        Table(port, (r"conv\d\.conv_sn\.weight_v",), layout=PORT),
    )
