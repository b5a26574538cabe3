"""EfficientNetV2-L's pooled vector (1,280 numbers) and an LSTM with GloVe, merged after the LSTM.

Command:   python train.py --config=configs/s2_effnet.py --workdir=runs/s2_effnet
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch),
           <data>/../weights/efficientnetv2-l_notop.h5 (storage.googleapis.com/tensorflow/
           keras-applications/efficientnet_v2/, needs `pip install "capjax[keras]"`), and
           <data>/glove/glove.6B.300d.txt (`python -m capjax.data where glove`)
Hardware:  one GPU of 8 GB; 45 MB of disk for the feature cache
Time:      not measured
Score:     not measured, and none is published

What is published of this captioner (a Flask demonstration with Grad-CAM and saliency maps) is its
encoder without its last two layers, a "custom LSTM", a list of words and GloVe 6B. Not published,
and chosen here as captioners in Keras usually are: that image and LSTM are added and meet in a
dense layer (Tanti et al. 2017), 256 units, 300-d word vectors, dropout, Adam, and Flickr8k.
A model that was trained so in Keras can be imported instead:
    python -m capjax.weights convert model.h5 --vocabulary=vocab.txt --out=FOLDER
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


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section("efficientnet_v2", size="l", weights="efficientnetv2-l_notop.h5"),
        decoder=decoder_section(
            "lstm",
            inject="merge",
            hidden=256,
            merged=256,
            embedding=300,
            hidden_dropout=0.5,
            embedding_dropout=0.5,
        ),
        data=DataConfig(
            name="flickr8k",
            threshold=5,
            cap=0,
            max_length=35,
            cache_frame_means=True,
            glove="glove.6B.300d.txt",
        ),
        loss=LossConfig(reduce="token", doubly_stochastic=0.0),
        optimizer=OptimizerConfig(name="adam", learning_rate=1e-3, schedule="constant"),
        train=LoopConfig(batch_size=64, epochs=20),
        evaluation=EvaluationConfig(metric="BLEU-4", patience=5, beam=3, length_penalty=1.0),
    )
