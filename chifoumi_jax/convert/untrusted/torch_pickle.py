"""Finds what the pickles in a PyTorch file refer to, without running them.

`torch.load(weights_only=True)` runs a pickle within limits. A hostile pickle could still make it
create a `bytearray` of any size, or allocate the memory that a storage claims. In the format before
PyTorch 1.6, a storage that the file does not hold would be left uninitialised.
"""

import pickletools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_PICKLE_OPCODES

_ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _ITEM_BYTES),
}
# Opcodes of a dictionary of tensors, numbers and text in protocol 2, which PyTorch uses.
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_PUTS = {"BINPUT", "LONG_BINPUT"}
_GETS = {"BINGET", "LONG_BINGET"}
_OTHERS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "BINUNICODE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
}


class _Opcode(NamedTuple):
    name: str
    value: Any


def storage_bytes(file: BinaryIO) -> dict[str, int]:
    """Returns the sizes in bytes of the storages in the next pickle of `file`, by their keys.

    Raises:
        WeightsError: If the pickle is damaged, or refers to anything other than tensors.
    """
    opcodes: deque[_Opcode] = deque(maxlen=8)
    found: dict[str, int] = {}
    for opcode in _opcodes(file):
        if opcode.name == "BINPERSID":
            key, size = _storage(opcodes)
            if found.setdefault(key, size) != size:
                raise WeightsError(f"its storage {key!r} has two sizes")
        opcodes.append(opcode)
    return found


def read_strings(file: BinaryIO) -> list[str]:
    """Reads the next pickle in `file`, which must be a list of strings.

    Raises:
        WeightsError: If the pickle is damaged, or is not such a list.
    """
    opcodes = [opcode for opcode in _opcodes(file) if opcode.name not in ("PROTO", "MARK", "STOP")]
    found = [opcode.value for opcode in opcodes if opcode.name == "BINUNICODE"]
    names = {opcode.name for opcode in opcodes} - {"BINUNICODE", "APPEND", "APPENDS"}
    if names != {"EMPTY_LIST"}:
        raise WeightsError("its list of storages is not a list of strings")
    return found


def skip_pickle(file: BinaryIO) -> None:
    """Skips the next pickle in `file` after the same checks.

    Raises:
        WeightsError: If it is damaged, or uses anything that a state dict does not need.
    """
    for _ in _opcodes(file):
        pass


def _opcodes(file: BinaryIO) -> Iterator[_Opcode]:
    """Yields a pickle's opcodes, with reads from the memo replaced by what was stored there."""
    memo: dict[int, _Opcode] = {}
    last = _Opcode("PROTO", None)
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number >= MAX_PICKLE_OPCODES:
                raise WeightsError(f"its pickle has more than {MAX_PICKLE_OPCODES} opcodes")
            name, value = opcode.name, cast(Any, argument)
            if name in _PUTS:
                memo[value] = last
                continue
            last = memo[value] if name in _GETS else _Opcode(name, value)
            if last.name not in _NUMBERS | _OTHERS:
                raise WeightsError(f"its pickle uses {last.name}, which no state dict needs")
            if last.name == "PROTO" and last.value != 2:
                raise WeightsError(f"its pickle has protocol {last.value}; expected PyTorch's 2")
            if last.name == "GLOBAL" and last.value not in _GLOBALS:
                raise WeightsError(
                    f"its pickle refers to {last.value.replace(' ', '.')}, which is not run; "
                    "save the model's state_dict(), best as .safetensors"
                )
            yield last
    except KeyError as error:
        raise WeightsError(f"its pickle is damaged: memo entry {error} was never set") from error
    # An odd escape in a string is an error if the caller turns warnings into errors.
    except (ValueError, IndexError, OverflowError, Warning) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"its pickle is damaged: {error}") from error


def _storage(opcodes: Iterable[_Opcode]) -> tuple[str, int]:
    """Returns key and size from the tuple ("storage", type, key, location, items[, None])."""
    tail = list(opcodes)
    if tail and tail[-1].name == "TUPLE":
        tail.pop()
    if tail and tail[-1].name == "NONE":
        tail.pop()
    marks = [opcode.name for opcode in tail[-6:-1]]
    if marks != ["MARK", "BINUNICODE", "GLOBAL", "BINUNICODE", "BINUNICODE"] or (
        tail[-5].value != "storage" or tail[-1].name not in _NUMBERS or tail[-1].value < 0
    ):
        raise WeightsError("its pickle refers to something that is not a plain storage")
    kind = tail[-4].value.removeprefix("torch ")
    if kind not in _ITEM_BYTES:
        raise WeightsError(f"its pickle has a storage of the unknown type {kind}")
    return tail[-3].value, tail[-1].value * _ITEM_BYTES[kind]
