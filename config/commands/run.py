"""`parley run`: starts the server and returns when it has stopped."""

import argparse
from collections.abc import Mapping

from config.commands.arguments import add_place_arguments, settings_of
from config.settings_checks import SettingsError, check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (default: info)")
    parser.add_argument(
        "--for-tests",
        action="store_true",
        help="open registration, no rate limits, the cheapest password hash, and loopback allowed for federation, "
        "previews and pushes; listens on loopback only",
    )


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = settings_of(flags, environment)
    problems = check_files(settings)
    if problems:
        raise SettingsError(problems)
    # Imported here, since the other commands do not need the whole server.
    from config.process import run

    return run(settings)
