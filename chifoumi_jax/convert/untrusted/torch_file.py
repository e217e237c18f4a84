"""Reads `.pt` and `.pth` files with PyTorch, after checking their structure without it."""

import importlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from chifoumi_jax.convert.untrusted.archive import open_archive
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_TORCH_BYTES
from chifoumi_jax.convert.untrusted.source import FileFormat
from chifoumi_jax.convert.untrusted.torch_pickle import read_strings, skip_pickle, storage_bytes

# Keys under which checkpoints store the weights beside the optimiser's state.
_NESTED_KEYS = ("state_dict", "model_state_dict")
_DAMAGE_ERRORS = (
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
    # PyTorch warns about a damaged pickle; callers may turn warnings into errors.
    Warning,
)


def read_torch(file: BinaryIO, file_format: FileFormat) -> Mapping[str, Any]:
    """Reads the state dict in a PyTorch file; it may have any tensors.

    Raises:
        WeightsError: If the file is damaged, holds anything except tensors, numbers and text in
            dictionaries and lists, or claims more data than it holds; or PyTorch is not installed.
    """
    checked = _checked_archive(file) if file_format is FileFormat.ZIP else _checked_pickle(file)
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise WeightsError(
            "PyTorch, which reads such files, is not installed: pip install torch, "
            "or save the weights as .safetensors"
        ) from error
    try:
        loaded = torch.load(checked, map_location="cpu", weights_only=True)
    except _DAMAGE_ERRORS as error:
        # The rest of PyTorch's message advises loading the file without these limits.
        _, _, reason = str(error).rpartition("WeightsUnpickler error: ")
        raise WeightsError(f"PyTorch cannot read it: {reason.partition('. Please')[0]}") from error
    for name in _NESTED_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"it holds a {type(loaded).__name__}; expected a state dict")
    return loaded


def _checked_archive(file: BinaryIO) -> BinaryIO:
    """Copies the checked entries into a new archive, because PyTorch has its own zip reader."""
    with open_archive(file, MAX_TORCH_BYTES) as archive:
        pickles = [name for name in archive.names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"it holds {len(pickles)} entries named data.pkl; expected one")
        folder = pickles[0].removesuffix("data.pkl")
        entries = {name: archive.read(name, MAX_TORCH_BYTES) for name in archive.names}
    _check_storages(folder, entries)
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(rebuilt, "w") as copy:
        for name, content in entries.items():
            copy.writestr(name, content)
    rebuilt.seek(0)
    return rebuilt


def _check_storages(folder: str, entries: Mapping[str, bytes]) -> None:
    for key, size in storage_bytes(io.BytesIO(entries[f"{folder}data.pkl"])).items():
        content = entries.get(f"{folder}data/{key}")
        if content is None or len(content) != size:
            held = "nothing" if content is None else f"{len(content):,} bytes"
            raise WeightsError(f"its storage {key!r} claims {size:,} bytes; the file holds {held}")


def _checked_pickle(file: BinaryIO) -> BinaryIO:
    """Returns the file if it is four pickles, a list of the storages, and the storages."""
    content = io.BytesIO(file.read(MAX_TORCH_BYTES))
    # Skips the magic number, the protocol version and the machine's sizes; the object follows.
    for _ in range(3):
        skip_pickle(content)
    sizes = storage_bytes(content)
    keys = read_strings(content)
    if sorted(keys) != sorted(sizes):
        raise WeightsError("its pickle and its list of storages name different storages")
    held = len(content.getvalue()) - content.tell()
    # Each storage is preceded by the number of its items, in eight bytes.
    claimed = sum(8 + size for size in sizes.values())
    if held != claimed:
        raise WeightsError(f"its storages claim {claimed:,} bytes; the file holds {held:,}")
    content.seek(0)
    return content
