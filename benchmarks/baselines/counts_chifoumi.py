"""The study's seven counts of right answers under attack, with their compilation."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx

from chifoumi_jax import systems
from chifoumi_jax.systems import fgsm

# As in `counts_torch`.
WARM_UP = 0


def count(images: int) -> Callable[[], list[int]]:
    """A function that counts right answers for each of the study's epsilons."""
    model = systems.get("fgsm").build(rngs=nnx.Rngs(0))
    pixels = np.random.default_rng(0).random((images, 28, 28), np.float32)
    labels = np.asarray(fgsm.predict(model, jnp.asarray(pixels)))
    return lambda: fgsm.count_right(model, pixels, labels, fgsm.EPSILONS)
