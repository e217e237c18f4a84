"""What the pickles in a PyTorch file refer to, found without running them.

`torch.load(weights_only=True)` runs a pickle within limits. What it would still do for a hostile
one: make a `bytearray` of any size, take memory that a storage claims, and leave a storage that the
file does not hold (in the format before PyTorch 1.6) as the memory happened to be.
"""

import pickletools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_PICKLE_STEPS

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
# What a dictionary of tensors, numbers and text takes in protocol 2, PyTorch's.
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_PUTS = {"BINPUT", "LONG_BINPUT"}
_GETS = {"BINGET", "LONG_BINGET"}
_OTHERS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "BINUNICODE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
}


class _Step(NamedTuple):
    name: str
    value: Any


def storage_bytes(file: BinaryIO) -> dict[str, int]:
    """Bytes of the storages that the next pickle in `file` refers to, by their keys.

    Raises:
        WeightsError: If the pickle is damaged, or refers to anything but tensors.
    """
    steps: deque[_Step] = deque(maxlen=8)
    found: dict[str, int] = {}
    for step in _steps(file):
        if step.name == "BINPERSID":
            key, size = _storage(steps)
            if found.setdefault(key, size) != size:
                raise WeightsError(f"its storage {key!r} has two sizes")
        steps.append(step)
    return found


def texts(file: BinaryIO) -> list[str]:
    """The texts in the next pickle in `file`, which must be a list of them.

    Raises:
        WeightsError: If the pickle is damaged or something else.
    """
    steps = [step for step in _steps(file) if step.name not in ("PROTO", "MARK", "STOP")]
    found = [step.value for step in steps if step.name == "BINUNICODE"]
    names = {step.name for step in steps} - {"BINUNICODE", "APPEND", "APPENDS"}
    if names != {"EMPTY_LIST"}:
        raise WeightsError("its list of storages is something else")
    return found


def skip(file: BinaryIO) -> None:
    """Pass over the next pickle in `file`, which must be as harmless.

    Raises:
        WeightsError: If it is not, or is damaged.
    """
    for _ in _steps(file):
        pass


def _steps(file: BinaryIO) -> Iterator[_Step]:
    """The opcodes of a pickle but those of its memo, from which its values are looked up."""
    memo: dict[int, _Step] = {}
    last = _Step("PROTO", None)
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number >= MAX_PICKLE_STEPS:
                raise WeightsError(f"its pickle has more than {MAX_PICKLE_STEPS} steps")
            name, value = opcode.name, cast(Any, argument)
            if name in _PUTS:
                memo[value] = last
                continue
            last = memo[value] if name in _GETS else _Step(name, value)
            if last.name not in _NUMBERS | _OTHERS:
                raise WeightsError(f"its pickle uses {last.name}, which no state dict needs")
            if last.name == "PROTO" and last.value != 2:
                raise WeightsError(f"its pickle has the protocol {last.value}; PyTorch's is 2")
            if last.name == "GLOBAL" and last.value not in _GLOBALS:
                raise WeightsError(
                    f"its pickle refers to {last.value.replace(' ', '.')}, which is not run; "
                    "save the model's state_dict(), best as .safetensors"
                )
            yield last
    except KeyError as error:
        raise WeightsError(f"its pickle is damaged: nothing was put at {error}") from error
    # Where warnings are errors, an odd escape in a text is one.
    except (ValueError, IndexError, OverflowError, Warning) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"its pickle is damaged: {error}") from error


def _storage(steps: Iterable[_Step]) -> tuple[str, int]:
    """Key and size from the tuple ("storage", type, key, location, number of items[, None])."""
    tail = list(steps)
    if tail and tail[-1].name == "TUPLE":
        tail.pop()
    if tail and tail[-1].name == "NONE":
        tail.pop()
    marks = [step.name for step in tail[-6:-1]]
    if marks != ["MARK", "BINUNICODE", "GLOBAL", "BINUNICODE", "BINUNICODE"] or (
        tail[-5].value != "storage" or tail[-1].name not in _NUMBERS or tail[-1].value < 0
    ):
        raise WeightsError("its pickle refers to something that is no plain storage")
    kind = tail[-4].value.removeprefix("torch ")
    if kind not in _ITEM_BYTES:
        raise WeightsError(f"its pickle has a storage of the type {kind}")
    return tail[-3].value, tail[-1].value * _ITEM_BYTES[kind]
