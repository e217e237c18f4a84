"""A training sees each photo with its own label, whatever the order of photos in the store."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from chifoumi_jax.data.dataset import Split
from chifoumi_jax.data.folder.photo import Photo
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Resident, Streamed, take
from chifoumi_jax.training.step import device_mesh

PIXELS = np.arange(8, dtype=np.uint8)[:, None] * np.ones((1, 4), np.uint8)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        pytest.param([2, 3, 4], [0, 1, 2], id="together"),
        pytest.param([7, 0, 3], [0, 1, 2], id="scattered"),
        pytest.param([2, 3, 2], [0, 1, 2], id="one picture in two classes"),
    ],
)
def test_every_photo_keeps_its_label(rows: list[int], labels: list[int]) -> None:
    photos = [Photo("a.png", label, "", 2, 2) for label in labels]
    split = Split(photos, np.array(rows, np.int32), np.array(labels, np.int32))
    order = Order(images=3, batch_size=3, epochs=1, seed=0, kind="all")
    resident = Resident(PIXELS, split, order, 4, NamedSharding(device_mesh(), P()))
    for feed in (resident, Streamed(PIXELS, split, order, 4)):
        feed.seek(0, None)
        (part,) = feed.parts(0, 1)
        batch = jax.tree.map(np.asarray, take(part.photos, part.rows[part.first]))
        seen = [
            (int(image[0]), int(label))
            for image, label, weight in zip(*batch, strict=True)
            if weight
        ]
        assert sorted(seen) == sorted(zip(rows, labels, strict=True))
