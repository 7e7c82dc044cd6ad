"""Make what the tests share, and the fakes of the loop, importable by jobs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "flows")]
