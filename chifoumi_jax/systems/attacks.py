"""Attacks on classifiers of images: the largest change of a pixel is epsilon.

All are untargeted and pure. The gradient of the loss is an argument, and so are random starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# From images and their labels to the gradient of the loss by each pixel. Only its sign counts, so
# that the loss may be a mean or a sum.
Gradient = Callable[[Array, Array], Array]
# From images and their labels to whether each is classified as its label.
Right = Callable[..., Array]


def fgsm(
    gradient: Gradient,
    images: Float[Array, "batch height width"],
    labels: Int[Array, " batch"],
    epsilon: float | Float[Array, ""],
) -> Float[Array, "batch height width"]:
    """One step of size epsilon along the sign of the gradient; the sign of 0 is 0.

    Source: Goodfellow, Shlens and Szegedy, 2015, "Explaining and Harnessing Adversarial Examples".

    Args:
        gradient: The gradient of the loss.
        images: Pixels from 0 to 1.
        labels: The true labels.
        epsilon: The largest change of a pixel.

    Returns:
        The attacked images, with pixels from 0 to 1.
    """
    return jnp.clip(images + epsilon * jnp.sign(gradient(images, labels)), 0, 1)


def pgd(
    gradient: Gradient,
    images: Float[Array, "batch height width"],
    labels: Int[Array, " batch"],
    start: Float[Array, "batch height width"],
    *,
    epsilon: float | Float[Array, ""],
    step: float | Float[Array, ""],
    steps: int,
) -> Float[Array, "batch height width"]:
    """Projected gradient descent: steps along the sign, each followed by a projection.

    Source: Madry et al., 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks".
    With one step and a random start it is the attack of Wong, Rice and Kolter, 2020.

    Args:
        gradient: The gradient of the loss.
        images: Pixels from 0 to 1.
        labels: The true labels.
        start: The first change of each pixel.
        epsilon: The largest change of a pixel.
        step: The size of a step.
        steps: Number of steps.

    Returns:
        The attacked images, with pixels from 0 to 1.
    """
    low, high = jnp.maximum(images - epsilon, 0), jnp.minimum(images + epsilon, 1)

    def one(_: Array, attacked: Array) -> Array:
        return jnp.clip(attacked + step * jnp.sign(gradient(attacked, labels)), low, high)

    return jax.lax.fori_loop(0, steps, one, jnp.clip(images + start, low, high))


def right_after_all(
    right: Right,
    images: Float[np.ndarray, "images height width"],
    labels: Int[np.ndarray, " images"],
    starts: Iterable[Float[np.ndarray, "images height width"]],
    batch_size: int = 500,
) -> Int[np.ndarray, " right"]:
    """The indices of the images that are right after an attack from every start.

    An image that an attack has changed successfully is not attacked again.

    Args:
        right: Whether images are classified as their labels after an attack from given starts.
        images: Pixels from 0 to 1.
        labels: Their labels.
        starts: The starts of each attack.
        batch_size: Number of images that are attacked at once.
    """
    left = np.arange(len(images))
    # The size of a batch does not follow the number of images that are left, because each new size
    # is compiled.
    size = min(batch_size, len(images))
    for start in starts:
        if left.size:
            left = left[in_batches(right, (images[left], labels[left], start[left]), size)]
    return left


def in_batches(
    right: Right, arrays: tuple[np.ndarray, ...], batch_size: int
) -> Bool[np.ndarray, "*more images"]:
    """The answers of `right` for all images, whose number is that of the last axis.

    A smaller last batch is filled with its first image, so that all batches have the same size.
    """
    found = []
    for first in range(0, len(arrays[0]), batch_size):
        rows = np.arange(first, min(first + batch_size, len(arrays[0])))
        filled = np.append(rows, np.full(batch_size - len(rows), first))
        answers = np.asarray(right(*(jnp.asarray(values[filled]) for values in arrays)))
        found.append(answers[..., : len(rows)])
    return np.concatenate(found, axis=-1)
