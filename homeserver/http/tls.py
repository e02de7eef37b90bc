"""A certificate on disk as a context for listeners, renewed without a restart.

https://docs.python.org/3/library/ssl.html
"""

import ssl
from pathlib import Path


class Certificate:
    """A PEM chain and its key. `context` stays the same object when the files are loaded again."""

    def __init__(self, chain_file: Path, key_file: Path) -> None:
        """Raises OSError (ssl.SSLError is one) if the files cannot be read or do not belong together."""
        self._chain_file = chain_file
        self._key_file = key_file
        self.context = self._load()

    def reload(self) -> None:
        """Use what the files hold now for new connections. Raises as the constructor, and then keeps the former."""
        # A pair that does not match would leave the live context with half of it: try it elsewhere first.
        self._load()
        self.context.load_cert_chain(self._chain_file, self._key_file)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Compression tells secrets by their length; renegotiation lets a client burn our CPU.
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._chain_file, self._key_file)
        return context
