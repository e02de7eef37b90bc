"""A proxy before PostgreSQL that cuts connections at COMMIT, or lets nobody in."""

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from urllib.parse import quote, unquote

SOCKET = ".s.PGSQL.5432"


class Cut(Enum):
    BEFORE = "COMMIT is not handed on"
    RACING = "COMMIT is handed on, and the connection is cut while the server is at it"
    AFTER = "the server has answered COMMIT, and the answer is lost"


class CuttingProxy:
    """`choose` is asked at every COMMIT whether and how the connection is cut. Threads of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        self._server = server
        self.url_host = quote(str(folder), safe="")
        self.choose: Callable[[], Cut | None] = lambda: None
        self.cuts: list[Cut] = []
        self.open = threading.Event()
        self.open.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen(64)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for one in [self._listener, *self._sockets]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                if not self.open.is_set():
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._sockets += [client, server]
                _Connection(client, server, self, self._start)


class _Connection:
    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        proxy: CuttingProxy,
        start: Callable[[Callable[[], None]], None],
    ) -> None:
        self._client = client
        self._server = server
        self._proxy = proxy
        self._swallow = False
        start(self._upwards)
        start(self._downwards)

    def _upwards(self) -> None:
        """From the client, message by message: a length word alone at first, then a type before it."""
        with suppress(OSError):
            head = self._read(4)
            while head:
                body = self._read(int.from_bytes(head[-4:], "big") - 4)
                if head[:1] == b"Q" and b"COMMIT\0" in body[-7:]:
                    cut = self._proxy.choose()
                    if cut is not None:
                        self._cut(cut, head + body)
                        return
                self._server.sendall(head + body)
                head = self._read(5)
        self._end()

    def _downwards(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                if self._swallow:
                    break
                self._client.sendall(data)
        self._end()

    def _cut(self, cut: Cut, message: bytes) -> None:
        self._proxy.cuts.append(cut)
        if cut is Cut.AFTER:
            self._swallow = True  # the answer ends the connection in `_downwards`
            self._server.sendall(message)
            return
        if cut is Cut.RACING:
            self._server.sendall(message)
        self._end()

    def _end(self) -> None:
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _read(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self._client.recv(count - len(parts))
            if not part:
                raise ConnectionResetError
            parts += part
        return parts


@contextmanager
def cutting_proxy(url: str) -> Iterator[tuple[CuttingProxy, str]]:
    """The proxy and the address of the same database through it."""
    before, host = url.split("?host=")
    with tempfile.TemporaryDirectory(prefix="parley-proxy-") as folder:
        proxy = CuttingProxy(Path(folder), f"{unquote(host)}/{SOCKET}")
        try:
            yield proxy, f"{before}?host={proxy.url_host}"
        finally:
            proxy.close()
