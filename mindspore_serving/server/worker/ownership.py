"""Whether an array that user code returned can still be changed by it.

A function may fill one array again and again and return it each time, yield it, keep it, or return a view of it. Its
result waits for a model, for the next function or for its batch-mates while the function runs for another client: what
the function changes then would be sent to the wrong client. So what is returned becomes Serving's own at once. There
are three cases (ADR 33 has the alternatives):

- Nothing but Serving refers to the array, and its memory is its own. Nobody can change it: it is taken as it is, which
  is the common case, and costs one look at a count of references.
- It is a view, and nothing but the view refers to the array below. That is the same.
- Anything else may change it: it is copied. So is what has memory of an owner that is no array (a tensor of another
  framework, a `bytearray`, a mapped file), and what is of a class of its own (a masked array), because who else uses
  that memory cannot be seen.

The same holds for what a function was given, where a later stage takes it, too: the function may have kept it. Later
stages see what the function has changed until it returned, and nothing after that.

A count that is higher than it should be, as under a debugger, leads to a copy and never to a wrong result.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from mindspore_serving.tensor import Array

ALONE = 2
"""What `getrefcount(variable)` says of an object that this variable alone refers to. Ask in a line of its own: while
arguments of another call are put together, that call refers to them, too."""
_ALONE_BELOW = ALONE + 1
"""To the array below a view: the view's, too."""


def own(array: Array, alone: bool) -> Array:
    """The array itself, or a copy of it where something else can change it.

    Args:
        array: Any array, with any memory.
        alone: Whether nothing but the caller refers to it (`getrefcount`, see `ALONE`).

    Returns:
        An array of the same class, dtype, shape and values that nothing else can change.
    """
    if alone and type(array) is np.ndarray:
        base: object = array.base
        if base is None or isinstance(base, bytes):  # nobody can change bytes
            return array
        if type(base) is np.ndarray and base.base is None and getrefcount(base) == _ALONE_BELOW:
            return array
    return array.copy() if type(array) is np.ndarray else np.array(array, subok=True)


def snapshot(value: Any) -> Any:
    """A value that a function was given, as it is now."""
    return np.array(value, subok=True) if isinstance(value, np.ndarray) else value
