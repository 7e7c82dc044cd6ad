"""Run every numbered tutorial in a process of its own; stop at the first that fails."""

import subprocess
import sys
from pathlib import Path

for tutorial in sorted(Path(__file__).parent.glob("[0-9]*.py")):
    print(f"== {tutorial.name}", flush=True)
    subprocess.run([sys.executable, "-W", "ignore", str(tutorial)], check=True)
