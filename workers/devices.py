"""Which GPUs a worker host lends us, asked without touching CUDA in this process."""

import os
import shutil
import subprocess
from itertools import takewhile

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ASK_SECONDS = 30


def list_gpus(wanted: str) -> list[str]:
    """Turn `all` or `0,1` into device names for CUDA_VISIBLE_DEVICES. Raise ValueError when there are none.

    `all` are the devices of CUDA_VISIBLE_DEVICES where a scheduler or a person has set it, else those of nvidia-smi.
    """
    if wanted != "all":
        names = _split(wanted)
        if not names:
            raise ValueError("--gpus takes `all` or a list of device numbers such as 0,1")
        return names
    lent = os.environ.get(_VISIBLE)
    return _installed() if lent is None else _lent(lent)


def _lent(visible: str) -> list[str]:
    # As CUDA reads it: what follows -1 does not count.
    names = list(takewhile(lambda name: name != "-1", _split(visible)))
    if not names:
        raise ValueError(f"no GPU found: {_VISIBLE}={visible!r} hides every one; unset it or use --queue cpu")
    return names


def _installed() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        raise ValueError("no GPU found: nvidia-smi is not installed; name devices with --gpus 0,1 or use --queue cpu")
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"no GPU found: {error}") from error
    names = found.stdout.split()
    if found.returncode != 0 or not names:
        raise ValueError(f"no GPU found: {(found.stderr or found.stdout).strip() or 'nvidia-smi lists none'}")
    return names


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
