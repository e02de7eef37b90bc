"""The flags that several commands share, and how the settings come from them."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from config.settings import Settings
from config.settings_checks import Problem, SettingsError
from config.settings_sources import load_settings


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the settings file (YAML); else PARLEY_CONFIG, else defaults")


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """What identifies a server on this machine."""
    add_config_argument(parser)
    parser.add_argument("--data", metavar="DIR", help="the data directory (default: ./parley-data)")
    parser.add_argument("--server-name", metavar="NAME", help="the name in ids such as @user:NAME (default: localhost)")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        action="append",
        help="where to wait for connections, instead of the file's listeners (default: 127.0.0.1:8008); repeatable",
    )


def config_file(flags: argparse.Namespace, environment: Mapping[str, str]) -> str | None:
    """The name of the settings file, if there is one."""
    return flags.config or environment.get("PARLEY_CONFIG") or None


def settings_of(flags: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings of a command; raises SettingsError."""
    name = config_file(flags, environment)
    if name is None:
        return load_settings(flags, environment)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([Problem("", None, f"cannot be read: {error.strerror}", name)]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Problem("", None, "is not a text in UTF-8", name)]) from error
    return load_settings(flags, environment, text, name)
