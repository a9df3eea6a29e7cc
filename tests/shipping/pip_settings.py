"""pip's settings on this machine, as one file, and the local paths that they name.

python pip_settings.py FILE    writes FILE, prints the paths
"""

import configparser
import subprocess
import sys
from pathlib import Path


def settings() -> dict[str, str]:
    """What `pip config list` says, of files and variables alike."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in said.splitlines():
        key, _, value = line.partition("=")
        found[key.rpartition(".")[2]] = value.strip("'\"")
    return found


def main(target: str) -> None:
    """Write the file and print one path a line."""
    found = settings()
    parser = configparser.RawConfigParser()
    parser["global"] = found
    with Path(target).open("w") as file:
        parser.write(file)
    words = " ".join(value for value in found.values()).split()
    paths = {Path(word.removeprefix("file://")) for word in words}
    for path in sorted(path for path in paths if path.is_absolute() and path.exists()):
        # An index of files points to a folder beside it.
        print(path.parent if path.name == "simple" else path)


if __name__ == "__main__":
    main(sys.argv[1])
