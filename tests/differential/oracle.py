"""Drives `oracle_process.py`, which answers with Synapse's functions from a venv of its own.

Rooms go through the pipe while earlier ones are still being answered, so that both processes work at once.
"""

import json
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from tests.differential.cases import Room

ROOT = Path(__file__).parents[2]
# So many rooms are under way at most.
WINDOW = 6


class OracleFailed(Exception):
    """The oracle cannot be had, or it ended before it had answered."""


def find_venv() -> Path:
    """The venv with Synapse in it: the one named by PARLEY_SYNAPSE_VENV, else our own, built when absent."""
    named = os.environ.get("PARLEY_SYNAPSE_VENV")
    venv = Path(named) if named else ROOT / ".cache" / "synapse-venv"
    if not named:
        subprocess.run([ROOT / "scripts" / "synapse-venv"], check=True, stdout=subprocess.DEVNULL)
    if not (venv / "bin" / "python").exists():
        raise OracleFailed(f"There is no Python in {venv}; see scripts/synapse-venv")
    return venv


def answers(venv: Path, rooms: Iterable[Room]) -> Iterator[tuple[Room, dict[str, Any]]]:
    """Each room with the oracle's answer, in order."""
    command = [venv / "bin" / "python", Path(__file__).with_name("oracle_process.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=_drain, args=(process.stdout, lines))
        reader.start()
        try:
            under_way: deque[Room] = deque()
            for room in rooms:
                _send(process.stdin, room)
                under_way.append(room)
                if len(under_way) == WINDOW:
                    yield under_way.popleft(), _receive(lines)
            while under_way:
                yield under_way.popleft(), _receive(lines)
        finally:
            process.stdin.close()
            reader.join()


def _send(pipe: IO[bytes], room: Room) -> None:
    try:
        pipe.write(json.dumps(room.wire()).encode() + b"\n")
        pipe.flush()
    except BrokenPipeError as error:
        raise OracleFailed("The oracle ended before it had read everything") from error


def _drain(pipe: IO[bytes], lines: "queue.SimpleQueue[bytes]") -> None:
    """Read all answers, so that the oracle never waits; an empty line says that it ended."""
    for line in pipe:
        lines.put(line)
    lines.put(b"")


def _receive(lines: "queue.SimpleQueue[bytes]") -> dict[str, Any]:
    line = lines.get()
    if not line:
        raise OracleFailed("The oracle ended before it had answered")
    answer: dict[str, Any] = json.loads(line)
    return answer
