"""`parley send-notice`: has the running server tell one user, or all, something in their rooms of server notices."""

import argparse
from collections.abc import Mapping
from typing import Any

from config.commands.arguments import settings_of
from config.commands.running_server import CommandError, RunningServer, add_server_arguments, find_server
from homeserver.domain.canonical import canonical_json

_PATH = "/_parley/admin/v1/notices"
_ACTION = "send-notice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what is told")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", metavar="USER", help="one user of this server: alice or @alice:NAME")
    target.add_argument("--all", action="store_true", help="every user of this server, guests aside")
    parser.add_argument("--limit-reached", metavar="KIND", help="a limit was reached: monthly_active_user")
    parser.add_argument("--contact", metavar="URI", help="with --limit-reached: how to reach you (mailto:...)")
    parser.add_argument("--after", metavar="USER", default="", help="with --all: go on after this user")
    parser.add_argument("--withdraw", action="store_true", help="instead: the limit that was told of holds no more")


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if flags.withdraw == bool(flags.text):
        raise CommandError("Give either a text to send, or --withdraw.")
    server = find_server(flags, environment)
    notice: dict[str, Any] = {"withdraw": True} if flags.withdraw else {"body": flags.text}
    for key, value in (("limit_type", flags.limit_reached), ("admin_contact", flags.contact)):
        if value is not None:
            notice[key] = value
    if flags.to is not None:
        name = settings_of(flags, environment).server_name
        notice["user_id"] = flags.to if flags.to.startswith("@") else f"@{flags.to}:{name}"
    count = send(server, notice, flags.after)
    print(f"{'Withdrawn from' if flags.withdraw else 'Sent to'} {count} {'user' if count == 1 else 'users'}.")
    return 0


def send(server: RunningServer, notice: Mapping[str, Any], after: str = "") -> int:
    """To how many users it was sent, page by page. Raises CommandError, which says after whom to go on."""
    count = 0
    while True:
        page = {**notice, "after": after} if after else notice
        try:
            answer = server.exchange(_PATH, (_ACTION, canonical_json(page).decode()), {"notice": page})
        except CommandError as error:
            hint = f" Sent to {count} before: go on with --after {after}." if after else ""
            raise CommandError(f"{error}{hint}") from error
        count += int(answer.get("count", 0))
        after = str(answer.get("next", ""))
        if not after:
            return count
