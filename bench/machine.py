# SPDX-License-Identifier: MIT
"""Where a figure comes from: machine, compiler, commit."""

import os
import platform
import subprocess
import time
from typing import Any


def first_line(*command: str) -> str:
    """The first line that a command prints, or "unknown"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=os.path.dirname(__file__))
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else "unknown"


def processor() -> str:
    """What the processor calls itself."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith(("model name", "CPU part"))]
    return names[0] if names else platform.machine()


def describe() -> dict[str, Any]:
    """Everything a reader needs to compare figures with those of another run."""
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no") != "unknown"
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "python": platform.python_version(),
        "compiler": first_line("cc", "--version"),
        "commit": first_line("git", "rev-parse", "HEAD") + (" with changes" if changed else ""),
    }
