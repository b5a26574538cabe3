"""Show, Attend and Tell (Xu et al. 2015), soft attention, on Flickr8k, selected by METEOR.

Command:   python train.py --config=configs/flickr8k_soft.py --workdir=runs/flickr8k_soft
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch) and
           <data>/../weights/vgg19.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/vgg19.tv_in1k; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the feature cache takes at most 2 GB of disk. METEOR needs Java
Time:      not measured
Score:     not measured; on the test split the paper reports BLEU-1 0.670 and METEOR 0.189

The settings of `configs/soft.py`, where the weights of the paper's own VGG-19 are described too,
except for two: the best model, and when to stop, are decided by METEOR, and the LSTM has 512 units
instead of the 1,800 that the released code has for COCO (the paper does not say how many it had for
Flickr8k). `configs/s4_soft.py` has a ResNet.
"""

from capjax.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    LoopConfig,
    LossConfig,
    OptimizerConfig,
    decoder_section,
    encoder_section,
)
from capjax.decoders.attention_lstm import SAT


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section("vgg", depth=19, output="conv5_4", weights="vgg19.safetensors"),
        decoder=decoder_section("attention_lstm", hidden=512, **SAT),
        data=DataConfig(
            name="flickr8k",
            threshold=1,
            cap=10_000,
            max_length=40,
            group_by_length=True,
        ),
        loss=LossConfig(reduce="caption", doubly_stochastic=1.0, doubly_stochastic_reduce="sum"),
        optimizer=OptimizerConfig(name="rmsprop", learning_rate=1e-4, schedule="constant"),
        train=LoopConfig(batch_size=64, epochs=50),
        evaluation=EvaluationConfig(
            metric="METEOR",
            patience=10,
            beam=5,
            length_penalty=1.0,
            published="xu2015_soft",
        ),
    )
