"""What a benchmark says while it runs, for whoever watches."""

import sys
import time


def note(text: str) -> None:
    """One line with the time of day."""
    print(f"# {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
