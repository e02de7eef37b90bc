"""`parley config check`: says whether `parley run` would take the settings, and starts nothing."""

import argparse
from collections.abc import Mapping

from config.commands.arguments import add_config_argument, config_file, settings_of
from config.settings_checks import SettingsError, check_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = settings_of(flags, environment)
    problems = check_files(settings)
    if problems:
        raise SettingsError(problems)
    print(f"The settings are right ({config_file(flags, environment) or 'no file: defaults and environment'}).")
    print(f"server name: {settings.server_name}")
    print(f"data:        {settings.data_directory.resolve()}")
    for listener in settings.listeners:
        scheme = "https" if listener.tls else "http"
        print(f"listens on:  {scheme}://{listener.address} for {', '.join(sorted(listener.serves))}")
    print(f"database:    {'a server of your own' if settings.database.url else 'in the data directory'}")
    print(f"accounts:    {settings.registration.policy}")
    return 0
