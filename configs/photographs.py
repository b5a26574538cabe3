"""The captioner that ships with capjax as `photographs`: a demonstration on real photographs.

Attention reads both the fine and the late map of a frozen MobileNet, through a projection that
keeps the file small. It is told where the objects of the training captions are, since that map by
itself says so much everywhere that attention would hardly point; and a tenth of the captions are
learnt from one position alone, which is what caption-guided saliency asks about.

Command:   python train.py --config=configs/photographs.py --workdir=runs/photographs
Data:      <data>/coco (2,187 training photographs of 256 px, captions_{train,val}.json,
           instances_train.json), <data>/../weights/mobilenet_v1_1.0_224.npz
Hardware:  two CPU cores
Time:      24 minutes from cached features, beside other work; features 4 minutes
Score:     validation, beam 3 (seed 0): BLEU-4 0.221, METEOR 0.210, CIDEr 0.605; as shipped 0.220,
           0.210, 0.602; attention points at 0.874 of persons and 0.569 of other things
           (`coco_soft`: 0.719, 0.435), caption-guided saliency at 0.545, 0.462 (0.607, 0.451)

What ships is this model with its weights rounded to half precision and `ABOUT` in its card:
    captioner = capjax.load("runs/photographs")
    card = {**captioner.card, **runpy.run_path("configs/photographs.py")["ABOUT"]}
    shipped = dataclasses.replace(captioner, card=card)
    shipped.save("capjax/checkpoints/photographs", storage="float16")
Its card then takes the scores of `python -m capjax.evaluate --model=photographs` as `scores`.
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

ABOUT = {
    "about": "A demonstration of capjax, learnt from 2,187 photographs: it names common things and "
    "is often wrong. Nothing should depend on its captions.",
    "learnt_from": "Training: 2,187 photographs of COCO val2017 (Karpathy's restval split, longest "
    "side 256 px), five or six captions each and the boxes of 80 classes. Validation: 351 "
    "photographs of its val split. 93 % of the photographs show a person.",
    "licences": {
        "captions": "COCO captions and boxes: CC BY 4.0, https://cocodataset.org",
        "photographs": "each has its own licence, some non-commercial; none is in this package",
        "encoder": "MobileNet v1 1.0 224, trained on ImageNet by its authors at Google: Apache-2.0",
        "captioner": "Apache-2.0, as capjax",
    },
}
"""What the card of the shipped captioner says beside where it comes from and its scores."""


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section(
            "mobilenet", output="block_11+13", weights="mobilenet_v1_1.0_224.npz"
        ),
        decoder=decoder_section(
            "attention_lstm",
            hidden=256,
            attention=128,
            embedding=128,
            projection=256,
            output_dropout=0.3,
            embedding_dropout=0.1,
        ),
        data=DataConfig(
            name="coco_shared",
            boxes="coco/annotations/instances_train.json",
            threshold=4,
            cap=0,
            max_length=20,
        ),
        loss=LossConfig(
            label_smoothing=0.1,
            doubly_stochastic=1.0,
            doubly_stochastic_reduce="mean",
            lone_position=0.1,
            lambda_supervised=0.1,
        ),
        optimizer=OptimizerConfig(
            name="adam",
            learning_rate=2e-3,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            average_decay=0.998,
        ),
        train=LoopConfig(batch_size=64, epochs=12),
        evaluation=EvaluationConfig(metric="CIDEr", beam=3, length_penalty=1.0, every=513),
    )
