"""Show, Attend and Tell (Xu et al. 2015), soft attention, on Flickr8k, Flickr30k or COCO.

Command:   python train.py --config=configs/soft.py
           python train.py --config=configs/soft.py --config.data.name=flickr30k
               --config.optimizer.name=adam --config.optimizer.learning_rate=2e-4
           python train.py --config=configs/soft.py --config.data.name=coco
               --config.optimizer.name=adam --config.optimizer.learning_rate=4e-4
               --config.optimizer.clip_value=5
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch) and
           <data>/../weights/vgg19.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/vgg19.tv_in1k; its sha256 is not known here)
Hardware:  one GPU of 16 GB; the feature cache takes at most 2 GB of disk for Flickr8k and 25 GB for
           COCO (--config.data.cache_features=False encodes anew instead)
Time:      estimated, not measured: 1 hour on Flickr8k
Score:     not measured; the paper reports BLEU-4 0.195 on Flickr8k's test split

Settings of the paper and its released code: the 14 × 14 map of VGG-19's conv5_4, batches of one
caption length, RMSProp for Flickr8k and Adam for the others, dropout, doubly-stochastic weight 1
summed over positions, 10,000 words, early stopping on validation BLEU. Clipping at 5, element by
element, and the rate for COCO are those of `configs/s0_coco.py`'s tutorial. Deviations: the whole
photograph is squashed to 224 × 224 instead of its central square; weights as torchvision trained
them. The authors' VGG-19 is the one that Keras ships,
vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 (storage.googleapis.com/tensorflow/
keras-applications/vgg19/; md5 253f8cb515780f3b799900260a226db6, sha256 not known here), read with
`pip install "capjax[keras]"`:
    --config.encoder.weights=FILE --config.encoder.weights_of=caffe
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
        decoder=decoder_section("attention_lstm", hidden=1800, **SAT),
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
            metric="BLEU-4", patience=10, beam=5, length_penalty=1.0, published="xu2015_soft"
        ),
    )
