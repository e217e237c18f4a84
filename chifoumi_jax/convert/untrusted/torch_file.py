"""Reading a `.pt` or `.pth` file, with PyTorch, after its structure was checked without."""

import importlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from chifoumi_jax.convert.untrusted.archive import unpacked
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_TORCH_BYTES
from chifoumi_jax.convert.untrusted.source import Kind
from chifoumi_jax.convert.untrusted.torch_pickle import skip, storage_bytes, texts

# Where trainings keep the weights beside the optimiser's state.
_NESTED = ("state_dict", "model_state_dict")
_DAMAGE = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    # Where warnings are errors: PyTorch warns of what it finds in a damaged pickle.
    Warning,
)


def read_torch(file: BinaryIO, kind: Kind) -> Mapping[str, Any]:
    """The state dict in a PyTorch file, of any tensors.

    Raises:
        WeightsError: If the file is damaged, holds anything but tensors, numbers and text in
            dictionaries and lists, claims more than it holds, or if PyTorch is not installed.
    """
    checked = _checked_archive(file) if kind is Kind.ZIP else _checked_pickle(file)
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise WeightsError(
            "PyTorch, which reads such files, is not installed: pip install torch, "
            "or save the weights as .safetensors"
        ) from error
    try:
        loaded = torch.load(checked, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        # The rest of its message advises to load the file without the limits.
        _, _, reason = str(error).rpartition("WeightsUnpickler error: ")
        raise WeightsError(f"PyTorch cannot read it: {reason.partition('. Please')[0]}") from error
    for name in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"it holds a {type(loaded).__name__}; expected a state dict")
    return loaded


def _checked_archive(file: BinaryIO) -> BinaryIO:
    """The archive's entries in a fresh one: PyTorch reads a zip in its own way."""
    with unpacked(file, MAX_TORCH_BYTES) as archive:
        pickles = [name for name in archive.names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"it holds {len(pickles)} entries data.pkl; expected one")
        folder = pickles[0].removesuffix("data.pkl")
        entries = {name: archive.read(name, MAX_TORCH_BYTES) for name in archive.names}
    _check_storages(folder, entries)
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w") as copy:
        for name, content in entries.items():
            copy.writestr(name, content)
    fresh.seek(0)
    return fresh


def _check_storages(folder: str, entries: Mapping[str, bytes]) -> None:
    for key, size in storage_bytes(io.BytesIO(entries[f"{folder}data.pkl"])).items():
        content = entries.get(f"{folder}data/{key}")
        if content is None or len(content) != size:
            held = "nothing" if content is None else f"{len(content):,} bytes"
            raise WeightsError(f"its storage {key!r} claims {size:,} bytes; the file holds {held}")


def _checked_pickle(file: BinaryIO) -> BinaryIO:
    """The whole file, if it is four pickles, a list of the storages, and these."""
    content = io.BytesIO(file.read(MAX_TORCH_BYTES))
    # A magic number, the version of the protocol, the machine's sizes; then the object.
    for _ in range(3):
        skip(content)
    sizes = storage_bytes(content)
    keys = texts(content)
    if sorted(keys) != sorted(sizes):
        raise WeightsError("its pickle and its list of storages name different ones")
    held = len(content.getvalue()) - content.tell()
    # Before each storage stands the number of its items, in eight bytes.
    claimed = sum(8 + size for size in sizes.values())
    if held != claimed:
        raise WeightsError(f"its storages claim {claimed:,} bytes; the file holds {held:,}")
    content.seek(0)
    return content
