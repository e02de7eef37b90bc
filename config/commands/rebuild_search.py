"""`parley rebuild-search`: has the running server build its index of search again, from the newest event on."""

import argparse
from collections.abc import Mapping

from config.commands.running_server import add_server_arguments, find_server

_PATH = "/_parley/admin/v1/search/rebuild"
_ACTION = "rebuild-search"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    find_server(flags, environment).exchange(_PATH, (_ACTION,), {})
    print("The index of search is built again; search goes on meanwhile. The server's log says when it is complete.")
    return 0
