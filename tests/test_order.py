import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chifoumi_jax.data.order import PADDING, Order


def sizes(order: Order) -> list[list[int]]:
    counts = [int((order[step] != PADDING).sum()) for step in range(len(order))]
    length = order.steps_per_epoch
    return [counts[start : start + length] for start in range(0, len(counts), length)]


def test_batch_sizes_equal_those_of_the_studys_training() -> None:
    epochs = sizes(Order(images=294, batch_size=25, epochs=10, seed=0, kind="keras"))
    assert [len(epoch) for epoch in epochs] == [11] * 10
    assert [sum(epoch) for epoch in epochs] == [275] + [269] * 9
    assert [epoch.index(19) for epoch in epochs[1:]] == list(range(9))


def test_batch_sizes_equal_those_of_the_studys_validation() -> None:
    epochs = sizes(Order(images=52, batch_size=25, epochs=4, seed=0, kind="keras"))
    assert epochs == [[25, 25], [2, 25], [25, 2], [25, 25]]


def test_an_item_depends_on_the_seed_and_the_step_alone() -> None:
    order = Order(images=40, batch_size=7, epochs=3, seed=5)
    again = Order(images=40, batch_size=7, epochs=9, seed=5)
    np.testing.assert_array_equal(order[10], again[10])
    other = Order(images=40, batch_size=7, epochs=3, seed=6)
    assert not np.array_equal(order[10], other[10])


@given(
    images=st.integers(1, 200),
    batch_size=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["all", "keras"]),
)
def test_each_pass_shows_every_image_once(
    images: int, batch_size: int, seed: int, kind: str
) -> None:
    order = Order(images=images, batch_size=batch_size, epochs=2, seed=seed, kind=kind)  # type: ignore[arg-type]
    for number in range(2):
        start = number * order.steps_per_pass
        rows = np.concatenate([order[start + slot] for slot in range(order.steps_per_pass)])
        assert sorted(rows[rows != PADDING]) == list(range(images))
    assert all(len(order[step]) == batch_size for step in range(len(order)))


@pytest.mark.parametrize(("images", "batch_size"), [(0, 5), (5, 0), (5, -1)])
def test_numbers_below_one_are_refused(images: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Order(images=images, batch_size=batch_size, epochs=1, seed=0)
