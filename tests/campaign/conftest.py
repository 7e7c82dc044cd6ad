"""A growing flow whose jobs leave a trace on disk, importable by a second process."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
