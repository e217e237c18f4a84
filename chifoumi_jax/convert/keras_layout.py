"""Finds the weights in a Keras HDF5 file, in three layouts; the user's names do not matter."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chifoumi_jax.convert.arrays import CNN_NAMES
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.tree import Tree
from chifoumi_jax.convert.untrusted.stored import StoredTensor

# Optimiser state, which is not needed.
IGNORED_GROUPS = ("optimizer", "optimizer_weights")
_V3_LAYERS = ("conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1")
V3_PATHS = tuple(f"layers/{layer}/vars/{number}" for layer in _V3_LAYERS for number in (0, 1))
# The random generator's state, which newer versions store with the dropout layer.
_V3_RANDOM_STATE = "layers/dropout/seed_generator/"
_FULL_MODEL = "model_weights"


class Weights(NamedTuple):
    """The weights in a Keras HDF5 file.

    Attributes:
        tensors: The weights by the names of `CNN_NAMES`.
        layers: Names of the layers that have weights, in order; None if the file has no names.
    """

    tensors: Mapping[str, StoredTensor]
    layers: tuple[str, ...] | None


def find_weights(tree: Tree) -> Weights:
    """Finds the network's ten tensors in a file of Keras 3 or 2.2.4; none is read yet.

    Raises:
        WeightsError: If there are more or fewer, or the layout is unknown.
    """
    if _FULL_MODEL in tree.groups:
        return _legacy_weights(tree, _FULL_MODEL)
    if tree.strings("", "layer_names") is not None:
        return _legacy_weights(tree, "")
    if "layers" in tree.groups:
        return _v3_weights(tree)
    raise WeightsError(
        "it holds neither weights of Keras 3 (a group 'layers') nor an older Keras model "
        "(a group 'model_weights', or an attribute 'layer_names')"
    )


def _v3_weights(tree: Tree) -> Weights:
    """Keras 3 names groups by layer class with a counter, not by the layers' own names."""
    found = [path for path in tree.datasets if not path.startswith(_V3_RANDOM_STATE)]
    return Weights(_select_datasets(tree, V3_PATHS, found), None)


def _legacy_weights(tree: Tree, base: str) -> Weights:
    """Attributes list the layers and their weights in order, with the user's names."""
    backend = tree.strings(base, "backend") or ["tensorflow"]
    if backend[0] in ("theano", "cntk"):
        raise WeightsError(f"it was saved with {backend[0]}, whose kernels are stored flipped")
    layers = tree.strings(base, "layer_names")
    if layers is None:
        raise WeightsError(f"{base} does not name its layers")
    prefix = f"{base}/" if base else ""
    paths: list[str] = []
    layers_with_weights: list[str] = []
    for layer in layers:
        group = f"{prefix}{layer}"
        if group not in tree.groups:
            raise WeightsError(f"it names the layer {layer!r}, but holds no group {group}")
        names = tree.strings(group, "weight_names") or []
        paths += [f"{group}/{name}" for name in names]
        layers_with_weights += [layer] if names else []
    found = [path for path in tree.datasets if path.startswith(prefix)]
    return Weights(_select_datasets(tree, paths, found), tuple(layers_with_weights))


def _select_datasets(
    tree: Tree, paths: Sequence[str], found: Sequence[str]
) -> dict[str, StoredTensor]:
    """Returns the datasets at `paths` by `CNN_NAMES`, in order; `found` may have no other paths."""
    for path in paths:
        if path not in tree.datasets:
            raise WeightsError(f"it holds no dataset {path}")
    for path in found:
        if path not in paths:
            raise WeightsError(f"it holds the dataset {path}, which is not part of the network")
    if len(paths) != len(CNN_NAMES) or len(set(paths)) < len(paths):
        raise WeightsError(f"it holds {len(paths)} weights; the network has {len(CNN_NAMES)}")
    return {name: tree.datasets[path] for name, path in zip(CNN_NAMES, paths, strict=True)}
