"""The checker of types at run time that the tests install; see conftest.py."""

import io
from typing import IO, Any, BinaryIO, Self

from beartype import BeartypeConf, FrozenDict, beartype

check = beartype(
    conf=BeartypeConf(
        # An int is a valid float, as for static type checkers (PEP 484).
        is_pep484_tower=True,
        # Files in memory are not instances of the abstract types of `typing`.
        # `Self` is known only where a whole class is decorated, and the hook decorates functions.
        hint_overrides=FrozenDict({BinaryIO: io.IOBase, IO[bytes]: io.IOBase, Self: Any}),
    )
)
