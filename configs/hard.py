"""Show, Attend and Tell with hard attention (Xu et al. 2015), on Flickr8k, Flickr30k or COCO.

Command:   python train.py --config=configs/hard.py
           python train.py --config=configs/hard.py --config.data.name=flickr30k
               --config.optimizer.name=adam --config.optimizer.learning_rate=2e-4
Data:      that of `configs/soft.py`
Hardware:  one GPU of 16 GB
Time:      not measured
Score:     not measured; the paper reports BLEU-4 0.213 and METEOR 0.203 on Flickr8k's test split

Everything else is `configs/soft.py`. REINFORCE with the numbers of the released code (0.1 of the
policy, 0.002 of the entropy), half of the captions reading the expectation, no doubly-stochastic
term (its gradient is replaced in the released code); captions are written from expected attention,
as there.

Deviations. The same numbers weigh differently: both minimise the sum over T tokens, averaged over B
captions, but the released code adds (c - b) / 10 s / alpha + 0.002 (log alpha + 1) to the gradient
of every alpha, with c the mean over a caption's tokens and without dividing by B. Here c is the
caption's sum, as in the paper's eq 12, and all terms are averaged over captions: the policy weighs
T / B times what it does there (a sixth, at 64 captions of 11 tokens), entropy 1 / B times. Each
caption decides for itself whether to read the expectation (as the paper says; the released code
decides once a batch); the baseline starts at the first batch's cost.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder.hard = True
    config.loss.doubly_stochastic = 0.0
    config.loss.lambda_r, config.loss.lambda_e = 0.1, 0.002
    config.evaluation.published = "xu2015_hard"
    return config
