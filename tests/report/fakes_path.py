"""The small loop of the flow tests, for the report's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fakes import small_loop

__all__ = ["small_loop"]
