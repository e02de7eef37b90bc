"""The command `parley`.

Exit status: 0 done, 1 it did not work, 2 the arguments or the settings are wrong. What went wrong is said on standard
error in a sentence; a traceback is a defect of ours.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from config.commands import config_check, rebuild_search, register_user, run, send_notice
from config.settings_checks import SettingsError
from homeserver.domain.errors import BrokenInvariant, ParleyError


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    flags = _parser().parse_args(arguments)
    try:
        status: int = flags.execute(flags, os.environ if environment is None else environment)
    except SettingsError as error:
        print(f"parley: the settings cannot be used:\n{error}", file=sys.stderr)
        return 2
    except BrokenInvariant:
        raise
    except ParleyError as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "parley", description="A federated, self-hosted chat server on the Matrix protocol."
    )
    parser.add_argument("--version", action="version", version=f"parley {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="start the server", description=run.__doc__)
    run.add_arguments(command)
    command.set_defaults(execute=run.execute)

    command = commands.add_parser("register-user", help="make an account on the running server")
    register_user.add_arguments(command)
    command.set_defaults(execute=register_user.execute)

    command = commands.add_parser("rebuild-search", help="have the running server build its index of search again")
    rebuild_search.add_arguments(command)
    command.set_defaults(execute=rebuild_search.execute)

    command = commands.add_parser("send-notice", help="tell one user, or all, something in the server's name")
    send_notice.add_arguments(command)
    command.set_defaults(execute=send_notice.execute)

    about_settings = commands.add_parser("config", help="about the settings")
    actions = about_settings.add_subparsers(required=True, metavar="ACTION")
    command = actions.add_parser("check", help="say whether the settings are right, and start nothing")
    config_check.add_arguments(command)
    command.set_defaults(execute=config_check.execute)
    return parser


def _version() -> str:
    try:
        return version("parley")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
