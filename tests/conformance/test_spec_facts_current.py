"""The committed facts are what scripts/spec-facts makes of the spec, and judge as the spec's own schemas do.

Two groups: what can be told anywhere from the facts alone, and, on a machine that has the checkout ../shared/spec, the
comparison with it, for which its raw OpenAPI validator is the oracle. Without the checkout the second is not collected.
"""

import copy
import hashlib
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.facts import FACTS, SpecFacts, spec_facts

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT.parent / "shared" / "spec"

# matrix-spec at v1.19 + 12 commits. Another commit is a decision: change it here and run scripts/spec-facts.
COMMIT = "d0ba2aaef801e0134a4e5c6054a2c2f41bb55531"


def test_facts_are_those_of_the_pinned_commit_and_nobody_edited_them() -> None:
    """The facts name the commit of the spec that we follow, and the checksums of their own files."""
    facts = SpecFacts()
    assert facts.commit == COMMIT
    files = {file.name: file for file in FACTS.glob("*.json")}
    assert set(files) == {*facts.checksums, "endpoints.json"}
    for name, checksum in facts.checksums.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == checksum, name


def test_facts_hold_no_prose() -> None:
    """Only facts were taken from the spec: no file has a word of description, and all are small."""
    for file in FACTS.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert len(text) < 150_000
        assert not any(f'"{key}": "' in text for key in ("description", "summary", "title", "example"))


def concrete(template: str) -> str:
    """A path that matches a template: every parameter is called x."""
    return "/".join("x" if part.startswith("{") else part for part in template.split("/"))


def mutants(value: Any) -> Iterator[Any]:
    """The value with one key removed or one thing in it of another type, for every key and thing."""
    for place in places(value, ()):
        if isinstance(place[-1], str):
            removed = copy.deepcopy(value)
            del at(removed, place[:-1])[place[-1]]
            yield removed
        changed = copy.deepcopy(value)
        parent = at(changed, place[:-1])
        parent[place[-1]] = 7 if isinstance(parent[place[-1]], str | dict) else "another type"
        yield changed


def places(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value[:2]))
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.fixture(scope="module")
def oracle() -> Any:
    """The raw validator, which lies in the checkout and in no package."""
    return runpy.run_path(str(SPEC / "spec_validate.py"))["SpecValidator"](SPEC)


def operations(oracle: Any) -> Iterator[tuple[str, str, str, Any]]:
    """(method, path template, file, operation) of our three APIs."""
    for method, template, _, file, _, operation in oracle.ops:
        if not {"identity", "push-gateway"} & set(Path(file).parts):
            yield method, template, file, operation


def examples(oracle: Any, described: Any, file: str) -> Iterator[Any]:
    """The JSON examples of one request body or response; those of requests stand in their schemas."""
    media = (described.get("content") or {}).get("application/json") or {}
    for example in (*media.get("examples", {}).values(), {"value": media.get("schema", {}).get("example")}):
        if example.get("value") is not None:
            yield oracle.example(example["value"], file)


@pytest.fixture(scope="module")
def answers(oracle: Any) -> list[tuple[str, str, int, Any]]:
    """Every response example: (method, path, status, body)."""
    found = []
    for method, template, file, operation in operations(oracle):
        for status, response in operation["responses"].items():
            for body in examples(oracle, response, file):
                if status.startswith("4") and "errcode" in body:
                    body.setdefault("error", "left out")  # by some examples, though the prose demands it
                found.append((method, concrete(template), int(status.replace("X", "0")), body))
    assert len(found) > 300
    return found


@pytest.fixture(scope="module")
def requests(oracle: Any) -> list[tuple[str, str, Any]]:
    """Every request example: (method, path, body)."""
    found = [
        (method, concrete(template), body)
        for method, template, file, operation in operations(oracle)
        for body in examples(oracle, operation.get("requestBody") or {}, file)
    ]
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def events(oracle: Any) -> list[Any]:
    """Every event example."""
    folder = SPEC / "data" / "event-schemas" / "examples"
    found = [oracle.example(oracle.load(str(file)), str(file)) for file in sorted(folder.glob("*.yaml"))]
    assert len(found) > 80
    return found


class TestAgainstTheCheckout:
    """The facts and the raw schemas, side by side."""

    __test__ = SPEC.is_dir()

    def test_committed_facts_are_a_fresh_distillation(self) -> None:
        """Distilling the checkout anew gives the committed files, byte by byte."""
        command = [sys.executable, str(ROOT / "scripts" / "spec-facts"), str(SPEC), "--check"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def test_every_operation_of_the_spec_is_an_endpoint(self, oracle: Any) -> None:
        """No operation of the three APIs is lost on the way."""
        described = {(method, path) for method, path, _, _ in operations(oracle)}
        assert {(endpoint.method, endpoint.path) for endpoint in spec_facts().endpoints()} == described

    def test_response_examples_of_the_spec_conform(self, oracle: Any, answers: list[Any]) -> None:
        """What the raw schemas accept, the facts accept."""
        for method, path, status, body in answers:
            if not oracle.response(method, path, status, body):  # one example lacks a required icon
                assert spec_facts().response_problems(method, path, status, body) == [], (method, path, status)

    def test_request_examples_of_the_spec_conform(self, oracle: Any, requests: list[Any]) -> None:
        """The same for requests."""
        for method, path, body in requests:
            assert oracle.request(method, path, body) == []
            assert spec_facts().request_problems(method, path, body) == [], (method, path)

    def test_event_examples_of_the_spec_conform(self, oracle: Any, events: list[Any]) -> None:
        """The same for events."""
        for event in events:
            assert oracle.event(event) == []
            assert spec_facts().event_problems(event) == [], event["type"]

    def test_what_the_raw_schemas_flag_in_an_answer_is_flagged(self, oracle: Any, answers: list[Any]) -> None:
        """Take an example, remove a key or change a type: the facts see it whenever the raw schemas do."""
        flagged = 0
        for method, path, status, body in answers:
            for mutant in mutants(body):
                if oracle.response(method, path, status, mutant):
                    flagged += 1
                    assert spec_facts().response_problems(method, path, status, mutant), (method, path, status, mutant)
        assert flagged > 1500

    def test_what_the_raw_schemas_flag_in_a_request_is_flagged(self, oracle: Any, requests: list[Any]) -> None:
        """The same for requests."""
        flagged = 0
        for method, path, body in requests:
            for mutant in mutants(body):
                if oracle.request(method, path, mutant):
                    flagged += 1
                    assert spec_facts().request_problems(method, path, mutant), (method, path, mutant)
        assert flagged > 200

    def test_what_the_raw_schemas_flag_in_an_event_is_flagged(self, oracle: Any, events: list[Any]) -> None:
        """The same for events."""
        flagged = 0
        for event in events:
            for mutant in mutants(event):
                legible = isinstance(mutant.get("type"), str) and isinstance(mutant.get("content", {}), dict)
                if legible and oracle.event(mutant):
                    flagged += 1
                    assert spec_facts().event_problems(mutant), mutant
        assert flagged > 1000
