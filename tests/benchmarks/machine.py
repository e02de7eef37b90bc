"""The machine as the kernel tells it: cores, CPU time and memory of process trees, and what others keep busy.

Linux only.  It knows nothing of servers or scenarios: it takes process ids and gives numbers.
https://man7.org/linux/man-pages/man5/proc.5.html
"""

import ctypes
import os
import platform
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SNAPSHOT_ATTEMPTS = 20
PR_SET_PDEATHSIG = 1


class ProcessGone(Exception):
    """A process under test is no longer there."""


@dataclass(frozen=True)
class Cores:
    """Where the driver runs, and where the server under test and its database run."""

    driver: int
    servers: int


def choose_cores() -> Cores:
    """The first core for the driver, the second for the servers; a machine with one core shares it."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(driver=allowed[0], servers=allowed[1] if len(allowed) > 1 else allowed[0])


def pin_driver(cores: Cores) -> None:
    """Binds this process (its children choose for themselves)."""
    os.sched_setaffinity(0, {cores.driver})


def child_setup(core: int, on_our_death: signal.Signals) -> Callable[[], None]:
    """What a started process does first: it binds itself to a core and asks to be stopped should the driver die.

    The death signal must be asked for after a change of user, which would clear it.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(on_our_death))
        os.sched_setaffinity(0, {core})

    return prepare


def _stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the command's name, which may itself hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()


def process_tree(root: int) -> dict[int, int]:
    """The living process `root` and its descendants, each with the CPU ticks of the children that it has reaped."""
    parents: dict[int, int] = {}
    reaped: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = _stat_fields(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we were looking
        parents[int(entry)] = int(fields[1])
        reaped[int(entry)] = int(fields[13]) + int(fields[14])
    if root not in parents:
        raise ProcessGone(f"process {root} has ended")
    members = {root}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in members} - members
        members |= children
        grown = bool(children)
    return {pid: reaped[pid] for pid in members}


def _own_cpu(pid: int) -> float:
    """User and system seconds of one living process, to the nanosecond.

    /proc rounds to 10 ms, too coarse for some twenty backends.  Linux numbers the CPU clock of a process
    `~pid << 3 | CPUCLOCK_SCHED` (clock_getcpuclockid(3), which Python does not offer).
    """
    return time.clock_gettime(~pid << 3 | 2)


def cpu_seconds(root: int) -> float:
    """User and system seconds of a process tree so far, descendants that ended included.

    A process that ends during the count moves from its own account to its parent's: the count is repeated
    until the tree is the same before and after it.
    """
    total = 0.0
    tree = process_tree(root)
    for _ in range(SNAPSHOT_ATTEMPTS):
        try:
            total = sum(_own_cpu(pid) for pid in tree) + sum(tree.values()) / TICKS_PER_SECOND
        except OSError:
            tree = process_tree(root)
            continue
        again = process_tree(root)
        if again == tree:
            return total
        tree = again
    return total


@dataclass(frozen=True)
class Memory:
    """Megabytes: resident, resident at its highest, and with shared pages divided among their users."""

    resident: float
    peak: float
    proportional: float


def memory_of(root: int) -> Memory:
    """The memory of a process tree."""
    resident = peak = proportional = 0
    for pid in process_tree(root):
        try:
            resident += _kilobytes(pid, "status", "VmRSS")
            peak += _kilobytes(pid, "status", "VmHWM")
            proportional += _kilobytes(pid, "smaps_rollup", "Pss")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Memory(resident / 1024, peak / 1024, proportional / 1024)


def _kilobytes(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    return 0


def busy_seconds() -> float:
    """CPU seconds that all cores together have been busy since boot, or were robbed of by the hypervisor."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def describe(cores: Cores) -> dict[str, str]:
    """What a reader must know about the machine of a run."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "pinning": f"driver on core {cores.driver}, server and database on core {cores.servers}",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
