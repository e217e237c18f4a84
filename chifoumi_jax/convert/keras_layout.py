"""Where the weights lie in an HDF5 file of Keras: three layouts, in which names decide little."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chifoumi_jax.convert.arrays import CNN_NAMES
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.hdf5.tree import Tree
from chifoumi_jax.convert.untrusted.stored import Stored

# What an optimiser left behind, which is not needed.
UNREAD = ("optimizer", "optimizer_weights")
_V3_LAYERS = ("conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1")
V3_PATHS = tuple(f"layers/{layer}/vars/{number}" for layer in _V3_LAYERS for number in (0, 1))
# The state of a random generator, which newer versions keep with the dropout.
_V3_IGNORED = "layers/dropout/seed_generator/"
_FULL_MODEL = "model_weights"


class Weights(NamedTuple):
    """What an HDF5 file of Keras holds.

    Attributes:
        tensors: The weights by the names of `CNN_NAMES`.
        layers: What the file calls the layers that have weights, in order; None if it does not.
    """

    tensors: Mapping[str, Stored]
    layers: tuple[str, ...] | None


def find_weights(tree: Tree) -> Weights:
    """The network's ten tensors in a file that Keras 3 or 2.2.4 saved; none is read yet.

    Raises:
        WeightsError: If there are more or fewer, or the layout is unknown.
    """
    if _FULL_MODEL in tree.groups:
        return _legacy(tree, _FULL_MODEL)
    if tree.strings("", "layer_names") is not None:
        return _legacy(tree, "")
    if "layers" in tree.groups:
        return _v3(tree)
    raise WeightsError(
        "it holds neither weights of Keras 3 (a group 'layers') nor an older Keras model "
        "(a group 'model_weights', or an attribute 'layer_names')"
    )


def _v3(tree: Tree) -> Weights:
    """Keras 3 names the groups by the layers' classes, counted, not by the layers' own names."""
    found = [path for path in tree.datasets if not path.startswith(_V3_IGNORED)]
    return Weights(_named(tree, V3_PATHS, found), None)


def _legacy(tree: Tree, base: str) -> Weights:
    """Attributes name the layers and their weights, in order; names are the user's."""
    backend = tree.strings(base, "backend") or ["tensorflow"]
    if backend[0] in ("theano", "cntk"):
        raise WeightsError(f"it was saved with {backend[0]}, whose kernels lie the other way round")
    layers = tree.strings(base, "layer_names")
    if layers is None:
        raise WeightsError(f"{base} does not name its layers")
    prefix = f"{base}/" if base else ""
    paths: list[str] = []
    weighted: list[str] = []
    for layer in layers:
        group = f"{prefix}{layer}"
        if group not in tree.groups:
            raise WeightsError(f"it names the layer {layer!r}, but holds no group {group}")
        names = tree.strings(group, "weight_names") or []
        paths += [f"{group}/{name}" for name in names]
        weighted += [layer] if names else []
    found = [path for path in tree.datasets if path.startswith(prefix)]
    return Weights(_named(tree, paths, found), tuple(weighted))


def _named(tree: Tree, paths: Sequence[str], found: Sequence[str]) -> dict[str, Stored]:
    """The datasets at `paths`, in their order by `CNN_NAMES`, if they are all that was `found`."""
    for path in paths:
        if path not in tree.datasets:
            raise WeightsError(f"it holds no dataset {path}")
    for path in found:
        if path not in paths:
            raise WeightsError(f"it holds the dataset {path}, which is not part of the network")
    if len(paths) != len(CNN_NAMES) or len(set(paths)) < len(paths):
        raise WeightsError(f"it holds {len(paths)} weights; the network has {len(CNN_NAMES)}")
    return {name: tree.datasets[path] for name, path in zip(CNN_NAMES, paths, strict=True)}
