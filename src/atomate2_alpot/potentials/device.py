"""The torch device that predictors use."""

from __future__ import annotations

from atomate2_alpot.settings import SETTINGS


def torch_device() -> str:
    """Return the device of ``ALPOT_DEVICE``; "auto" takes CUDA where there is one, else the CPU."""
    if SETTINGS.DEVICE != "auto":
        return SETTINGS.DEVICE
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
