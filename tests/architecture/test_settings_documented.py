"""Every setting is documented: in the reference, which is generated, and in the sample, which people copy."""

import argparse
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from config.settings import Settings
from config.settings_sources import keys_of, load_settings, variables

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config" / "sample.yaml"


def test_reference_is_current() -> None:
    """docs/reference/settings.md is what the script makes of the settings; the remedy is to run it."""
    command = [sys.executable, str(ROOT / "scripts" / "settings-reference"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_reference_names_every_key_and_variable() -> None:
    """Nothing that a page could say is missing from it."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for name, part in keys_of():
        assert part.key is not None and f"**`{name}`** {part.key.meaning}" in page
    assert all(f"`{variable}`" in page for variable in variables())


def test_sample_holds_every_key_with_a_comment() -> None:
    """Each key of the tree stands in the sample, and the line above it (comments unfold) says what it is."""
    lines = SAMPLE.read_text().splitlines()
    for name, _ in keys_of():
        key = name.rpartition(".")[2]
        places = [index for index, line in enumerate(lines) if re.match(rf"[ #-]*{key}:", line)]
        assert places, f"{name} is not in config/sample.yaml"
        assert all("#" in lines[index - 1] for index in places), f"{name} has no comment in config/sample.yaml"


def test_sample_says_the_defaults() -> None:
    """The sample, read as a file, gives the defaults: to delete a line changes nothing."""
    settings = load_settings(argparse.Namespace(), {}, SAMPLE.read_text(), "sample.yaml")
    listener = replace(settings.listeners[0], resources=None)
    assert settings.listeners[0].serves == listener.serves
    assert replace(settings, listeners=(listener,)) == Settings()


def test_no_more_than_forty_keys() -> None:
    """An operator can know them all."""
    assert len(list(keys_of())) <= 40


def test_variables_are_distinct() -> None:
    """No two keys share a variable of the environment."""
    assert len(variables()) == len([name for name, _ in keys_of() if "[]" not in name]) + 1
