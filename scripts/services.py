"""See that the tests' real services can be had: `python scripts/services.py ensure`.

Chromium is installed with apt-get where it is missing and we may; PostgreSQL and Redis are found running,
installed, or in wheels that `make setup` brought. One line says which it will be; exit 1 names the remedy.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from tests.support import browser, postgres, redis_server

APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300")  # another apt-get may be at work: wait for it


def postgres_source() -> str | None:
    """Say where PostgreSQL will come from, without credentials; None for nowhere."""
    if os.environ.get(postgres.VARIABLE):
        return f"the server in {postgres.VARIABLE}"
    if postgres.find_running():
        return "the server running here"
    binaries = postgres.installed_binaries()
    if binaries is not None and postgres.starter() is not None:
        return f"started by the tests from {binaries}"
    return "started by the tests from a wheel" if postgres.starter() else None


def redis_source() -> str | None:
    """Say where Redis will come from, without credentials; None for nowhere."""
    if os.environ.get(redis_server.VARIABLE):
        return f"the server in {redis_server.VARIABLE}"
    if redis_server.answers(redis_server.STANDARD):
        return "the server running here"
    program = redis_server.binary()
    return f"started by the tests from {program}" if program else None


def chromium_source() -> str | None:
    """Say where Chromium is, installing it where that is possible; None for nowhere."""
    if browser.executable() is None and os.getuid() == 0 and shutil.which("apt-get"):
        install_chromium()
    found = browser.executable()
    return str(found) if found else None


def install_chromium() -> None:
    """Install Debian's package; with fresh package lists if the ones at hand are too old."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [*APT, "install", "--yes", "--no-install-recommends", "chromium"]
    print("Chromium: installing it with apt-get ...", flush=True)
    if subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        subprocess.run([*APT, "update"], env=environment, stdout=subprocess.DEVNULL, check=False)
        subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, check=False)


SERVICES: dict[str, tuple[Callable[[], str | None], str]] = {
    "PostgreSQL": (postgres_source, postgres.REMEDY),
    "Redis": (redis_source, redis_server.REMEDY),
    "Chromium": (chromium_source, browser.REMEDY),
}


def ensure() -> int:
    """Print where each service comes from; return the exit status."""
    missing = 0
    for name, (source, remedy) in SERVICES.items():
        place = source()
        print(f"{name}: {place or remedy}", flush=True)
        missing += place is None
    return 1 if missing else 0


if __name__ == "__main__":
    if sys.argv[1:] != ["ensure"]:
        sys.exit("usage: python scripts/services.py ensure")
    sys.exit(ensure())
