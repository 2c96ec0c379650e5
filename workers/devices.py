"""Which GPUs a worker host has, asked without touching CUDA in this process."""

import shutil
import subprocess


def list_gpus(wanted: str) -> list[str]:
    """Turn `all` or `0,1` into device names for CUDA_VISIBLE_DEVICES. Raise ValueError when there are none."""
    if wanted != "all":
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        if not names:
            raise ValueError("--gpus takes `all` or a list of device numbers such as 0,1")
        return names
    program = shutil.which("nvidia-smi")
    if program is None:
        raise ValueError("no GPU found: nvidia-smi is not installed; name devices with --gpus 0,1 or use --queue cpu")
    found = subprocess.run(
        [program, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False, timeout=30
    )
    names = found.stdout.split()
    if found.returncode != 0 or not names:
        raise ValueError(f"no GPU found: {(found.stderr or found.stdout).strip() or 'nvidia-smi lists none'}")
    return names
