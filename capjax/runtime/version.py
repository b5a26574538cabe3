"""Which code made a result."""

import importlib.metadata
import pathlib
import subprocess


def code_version() -> str:
    """The installed version and, in a git checkout, its commit."""
    try:
        version = importlib.metadata.version("capjax")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    checkout = pathlib.Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # else git would describe whatever repository is above
        return version
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{found.stdout.strip()}"
