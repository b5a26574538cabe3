"""REINFORCE for hard attention (Xu et al. 2015, eqs 9-12): the gradient that choosing gets.

The paper maximises log p(y | s) over chosen positions s; here its negative, the cost c of a
caption, is minimised:

    c + lambda_r (c - b) sum_t log alpha(s_t) - lambda_e sum_t H(alpha_t)

with c - b and s held constant in the second term, so that its gradient is an unbiased estimate of
that of the expected cost, for any baseline b; b is a moving average of c. The gradient of c itself
reaches the weights through everything but the choice.

Letters: B captions, T tokens, F frames, P positions.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.ops.attention_statistics import log_attention


def policy_terms(
    attention: Float[Array, "B T F P"],
    chosen: Float[Array, "B T F P"],
    expected: Bool[Array, " B"],
    mask: Float[Array, "B T"],
    costs: Float[Array, " B"],
    baseline: Float[Array, ""],
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """(c - b) sum_t log alpha(s_t), and sum_t H(alpha_t) in nats, of every caption.

    Args:
      attention: alpha.
      chosen: one position a word, 1 there and 0 elsewhere.
      expected: captions that chose nothing; their first term is 0.
      mask: 1 for the tokens of the caption, 0 for padding.
      costs: c, nats, what the caption cost with these choices.
      baseline: b, in the unit of the costs.
    """
    logs = log_attention(attention)
    chosen_logs = jnp.sum(jax.lax.stop_gradient(chosen) * logs, axis=(2, 3))
    advantage = jax.lax.stop_gradient(costs - baseline)
    policy = jnp.where(expected, 0.0, advantage * jnp.sum(mask * chosen_logs, axis=1))
    entropy = -jnp.sum(mask * jnp.sum(attention * logs, axis=(2, 3)), axis=1)
    return policy, entropy


def next_baseline(
    baseline: Float[Array, ""], cost: Float[Array, ""], *, step: Array, decay: float
) -> Float[Array, ""]:
    """The moving average after a batch of mean cost `cost`; the first batch starts it.

    Deviation: the released code starts at 0, and its first updates reward every choice.
    """
    return jnp.where(step == 0, cost, decay * baseline + (1.0 - decay) * cost)
