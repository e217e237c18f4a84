"""Draws a picture of a hand from a seed."""

import io
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from chifoumi_jax.hands.background import draw_background
from chifoumi_jax.hands.blur import blurred
from chifoumi_jax.hands.foreground import draw_foreground
from chifoumi_jax.hands.people import SPLITS
from chifoumi_jax.hands.pose import GESTURES, NOTHING
from chifoumi_jax.hands.scene import moved_out_of_view, sample_scene
from chifoumi_jax.hands.surface import Solid
from chifoumi_jax.hands.variety import VARIETY, Variety

# Shortest and longest side of a picture, in pixels.
SIDES = (32, 4096)


def render(
    gesture: str, *, seed: int, size: tuple[int, int] = (256, 256), split: str = "train"
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a picture of a hand in sRGB, with the pixels that its JPEG decodes to.

    Args:
        gesture: One of `GESTURES`.
        seed: Not negative; the same seed gives the same picture. Gestures of one seed share
            person, light, place and view.
        size: Width and height in pixels, each within `SIDES`.
        split: "train" or "test": the set of people, lights and backdrops.

    Raises:
        ValueError: If an argument is not one of these.
    """
    with Image.open(io.BytesIO(render_jpeg(gesture, seed=seed, size=size, split=split))) as image:
        return np.array(image.convert("RGB"))


def render_jpeg(
    gesture: str,
    *,
    seed: int,
    size: tuple[int, int],
    split: str,
    variety: Variety = VARIETY,
) -> bytes:
    """Returns the same picture as `render`, as the bytes of a JPEG file.

    The gesture may be `NOTHING`: then the picture shows the background only.
    """
    _check(gesture, seed, size, split)
    width, height = size
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    is_hand = gesture != NOTHING
    scene = sample_scene(gesture if is_hand else GESTURES[0], split, width / height, rng, variety)
    with jax.default_device(_device()):
        bones = scene.bones if is_hand else moved_out_of_view(scene.bones)
        solid = Solid(*(jnp.asarray(part) for part in (*bones, scene.folds)))
        picture = draw_background(scene, solid, split, size, rng)
        if is_hand:
            hand, cover = draw_foreground(scene, solid, size)
            picture += (hand - picture) * cover[..., None]
    return _encode_as_photo(picture, rng, variety)


@cache
def _device() -> jax.Device:
    """Returns the CPU, because a GPU rounds differently and a seed must always give one picture."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS excludes the CPU
        return jax.local_devices()[0]


def _check(gesture: str, seed: int, size: tuple[int, int], split: str) -> None:
    if gesture not in (*GESTURES, NOTHING):
        raise ValueError(f"gesture must be one of {', '.join(GESTURES)}, not {gesture!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, but is {seed}")
    low, high = SIDES
    if len(size) != 2 or not all(low <= side <= high for side in size):
        raise ValueError(f"size must be (width, height), each {low} to {high}, not {size!r}")


def _encode_as_photo(
    picture: Float32[np.ndarray, "height width 3"], rng: np.random.Generator, variety: Variety
) -> bytes:
    """Blurs, adds the sensor's noise and compresses."""
    sigma = rng.uniform(*variety.blur) * max(picture.shape) / 1000
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    grain *= np.float32(rng.uniform(*variety.noise))
    grain += np.asarray(blurred(picture, sigma))
    levels = np.clip(grain + 0.5, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=int(rng.integers(*variety.quality)))
    return file.getvalue()
