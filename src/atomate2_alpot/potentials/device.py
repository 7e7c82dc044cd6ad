"""Where torch runs, and keeping its global default dtype as the process had it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atomate2_alpot.settings import SETTINGS


def torch_device() -> str:
    """Return the device of ``ALPOT_DEVICE``; "auto" takes CUDA where there is one, else the CPU."""
    if SETTINGS.DEVICE != "auto":
        return SETTINGS.DEVICE
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def current_dtype() -> Any:
    """Return torch's default dtype, or None while torch is not loaded."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_default_dtype()


@contextmanager
def default_dtype(dtype: Any = None) -> Iterator[None]:
    """Run with torch's default dtype set, and put back the one before.

    CHGNet and matgl build their tensors in the default dtype and fail in another than the
    model's; MACE's own calculator leaves the whole process in its own.

    Parameters
    ----------
    dtype : torch.dtype, optional
        None sets nothing, but what the code inside sets is undone as well.
    """
    before = current_dtype()
    if dtype is not None:
        sys.modules["torch"].set_default_dtype(dtype)
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        if torch is not None:  # loaded inside, it started as float32
            torch.set_default_dtype(before or torch.float32)
