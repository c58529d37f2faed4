"""torch, NumPy and the shapes in signatures, for what settings are made of: checking those imports none of them.

A module takes from here what it would import itself. Its functions then import torch when they first use it, and its
signatures say nothing at run time. Where somebody checks signatures, as the tests do, jaxtyping has been imported
before, and all of this is what it is called.
"""

import sys
from typing import TYPE_CHECKING, Any

from ffattn.system.lazy_modules import LazyModule

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    import numpy as np
    import torch
    from jaxtyping import Bool, Float, Int
    from torch import Tensor
else:
    np = LazyModule("numpy")
    torch = LazyModule("torch")

    class Tensor:
        """Stands for torch's in signatures."""

    class Float:
        """Stands for jaxtyping's in signatures; any shape of it is any object."""

        def __class_getitem__(cls, shape: Any) -> type:
            return object

    Bool = Int = Float

__all__ = ["Bool", "Float", "Int", "Tensor", "np", "torch"]
