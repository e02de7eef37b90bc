"""`parley register-user`: makes an account on the running server, by the shared secret."""

import argparse
import getpass
import sys
from collections.abc import Mapping

from config.commands.running_server import CommandError, add_server_arguments, find_server

_PATH = "/_synapse/admin/v1/register"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    parser.add_argument("user", metavar="USER", help="the local part of the new user's id: alice for @alice:NAME")
    parser.add_argument("--admin", action="store_true", help="the user may administer the server")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    server = find_server(flags, environment)
    password = _password(flags.password_stdin)
    parts = (flags.user, password, "admin" if flags.admin else "notadmin")
    answer = server.exchange(_PATH, parts, {"username": flags.user, "password": password, "admin": flags.admin})
    print(f"Registered {answer.get('user_id', flags.user)}{' (admin)' if flags.admin else ''}.")
    return 0


def _password(from_input: bool) -> str:
    if from_input:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandError("The two passwords differ.")
    else:
        raise CommandError("There is no terminal to ask for a password: give it on standard input, --password-stdin.")
    if not password:
        raise CommandError("The password is empty.")
    return password
