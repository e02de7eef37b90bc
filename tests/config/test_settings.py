"""Settings from file, environment and flags: what they become, and what is said about wrong ones."""

import argparse
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.settings import Listener, Settings, Tls
from config.settings_checks import SettingsError, check_files
from config.settings_sources import keys_of, load_settings
from config.settings_values import LOOPBACK, Address


def load(text: str | None = None, environment: dict[str, str] | None = None, **flags: Any) -> Settings:
    return load_settings(argparse.Namespace(**flags), environment or {}, text, "/etc/parley/parley.yaml")


def problems(text: str | None = None, environment: dict[str, str] | None = None, **flags: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(text, environment, **flags)
    return str(caught.value).replace("/etc/parley/parley.yaml", "FILE").splitlines()


def test_nothing_given() -> None:
    """Without any setting: localhost, on loopback, from ./parley-data, with nobody allowed to register."""
    settings = load()
    assert settings == Settings()
    assert settings.server_name == "localhost"
    assert str(settings.listeners[0].address) == "127.0.0.1:8008"
    assert settings.listeners[0].serves == {"client", "federation", "web", "metrics"}
    assert settings.data_directory == Path("parley-data")
    assert settings.registration.policy == "closed"
    assert settings.rooms.default_version == "12"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "log:\n", "database: {}\nlimits: {}\n"])
def test_empty_file_and_sections(text: str) -> None:
    """What is left out or left empty has its default."""
    assert load(text) == Settings()


def test_whole_file() -> None:
    """Each kind of value, as an operator writes it."""
    settings = load(
        """
server_name: example.org:8448
public_base_url: https://chat.example.org/
data_directory: data
listeners:
  - address: "[::]:8448"
    tls: {certificate: tls/chain.pem, key: /keys/key.pem}
    resources: [federation, client]
  - address: localhost:9000
    resources: metrics
database:
  url: postgresql://parley:secret@db/parley
rooms: {default_version: 11}
registration: {policy: token, tokens: [abc, 0123], shared_secret: 1234}
limits:
  overrides: {messages: {per_second: 20, burst: 100}, profile: null}
http: {trusted_proxies: [loopback, 10.0.0.0/8], drain_seconds: 2.5}
network: {allow_private: loopback}
log: {level: debug, format: json}
"""
    )
    assert settings.server_name == "example.org:8448"
    assert settings.public_base_url == "https://chat.example.org"
    assert settings.data_directory == Path("/etc/parley/data")
    assert settings.listeners == (
        Listener(
            address=Address("::", 8448),
            tls=Tls(certificate=Path("/etc/parley/tls/chain.pem"), key=Path("/keys/key.pem")),
            resources=("federation", "client"),
        ),
        Listener(address=Address("localhost", 9000), resources=("metrics",)),
    )
    assert settings.database.url == "postgresql://parley:secret@db/parley"
    assert settings.rooms.default_version == "11"
    assert settings.registration.tokens == ("abc", "0123")
    assert settings.registration.shared_secret == "1234"
    assert settings.limits.overrides == {"messages": {"per_second": 20.0, "burst": 100.0}, "profile": None}
    assert settings.http.trusted_proxies == (*LOOPBACK, ip_network("10.0.0.0/8"))
    assert settings.http.drain_seconds == 2.5
    assert settings.network.allow_private == LOOPBACK
    assert (settings.log.level, settings.log.format) == ("debug", "json")


def test_flags_over_environment_over_file() -> None:
    """The nearest to the command line decides; a relative path begins where it was written."""
    text = "server_name: file\nlog: {level: error, format: json}\ndata_directory: data\nmetrics: {enabled: off}"
    environment = {"PARLEY_SERVER_NAME": "environment", "PARLEY_LOG_LEVEL": "warning", "PARLEY_DATA_DIRECTORY": "here"}
    settings = load(text, environment, server_name="flag", listen=["127.0.0.1:1", "[::1]:2"])
    assert settings.server_name == "flag"
    assert (settings.log.level, settings.log.format) == ("warning", "json")
    assert settings.data_directory == Path("here")
    assert not settings.metrics.enabled
    assert [str(listener.address) for listener in settings.listeners] == ["127.0.0.1:1", "[::1]:2"]


def test_environment() -> None:
    """Texts stand for themselves, everything else is YAML; what Kubernetes, Docker and tests set is no setting."""
    settings = load(
        environment={
            "PARLEY_REGISTRATION_SHARED_SECRET": "true: [x",
            "PARLEY_NETWORK_ALLOW_PRIVATE": "[loopback, 10.1.0.0/16]",
            "PARLEY_HTTP_TRUSTED_PROXIES": "10.0.0.1",
            "PARLEY_LIMITS_ENABLED": "no",
            "PARLEY_PASSWORDS_TIME_COST": "3",
            "PARLEY_LISTENERS": "[{address: '0.0.0.0:80', resources: [client]}]",
            "PARLEY_CONFIG": "parley.yaml",
            "PARLEY_PORT_8008_TCP": "tcp://10.0.0.1:8008",
            "PARLEY_SERVICE_HOST": "10.0.0.1",
            "PARLEY_TEST_DATABASE": "x",
            "HOME": "/",
        }
    )
    assert settings.registration.shared_secret == "true: [x"
    assert settings.network.allow_private == (*LOOPBACK, ip_network("10.1.0.0/16"))
    assert settings.http.trusted_proxies == (ip_network("10.0.0.1/32"),)
    assert not settings.limits.enabled
    assert settings.passwords.time_cost == 3
    assert settings.listeners == (Listener(address=Address("0.0.0.0", 80), resources=("client",)),)


def test_metrics_are_not_for_strangers() -> None:
    """A listener that others reach serves metrics only if it is told to."""
    listeners = load(listen=["0.0.0.0:8008", "localhost:8009", "127.1.2.3:1", "[::1]:2", "example.org:3"]).listeners
    assert ["metrics" in listener.serves for listener in listeners] == [False, True, True, True, False]


def test_all_problems_at_once_with_their_lines() -> None:
    """Every complaint names key and line, and what would be right."""
    text = """\
server_name: Example.org
sever_name: x
listeners:
  - address: 8008
    resources: [client, webb]
  - tls: {certificate: a}
log:
  level: loud
  colour: red
passwords:
  queue: many
  queue: 3
limits: 7
shared_secret: x
"""
    assert problems(text) == [
        "FILE:2: sever_name: there is no such key; did you mean server_name?",
        "FILE:9: log.colour: there is no such key; there are: level, format",
        "FILE:12: passwords.queue: is given twice; the first is in line 11",
        "FILE:13: limits: '7' is not a section with keys of its own",
        "FILE:14: shared_secret: there is no such key; did you mean registration.shared_secret?",
        "FILE:1: server_name: 'Example.org' is no value for it; it takes a server name in lower case, such as "
        "example.org, chat or example.org:8448",
        "FILE:4: listeners[0].address: '8008' is no value for it; it takes an address with a port, such as "
        "127.0.0.1:8008, [::1]:8008 or localhost:8008",
        "FILE:5: listeners[0].resources: 'webb' in the list is not one of client, federation, web, metrics; it takes a "
        "list; each item one of client, federation, web, metrics, or nothing",
        "FILE:6: listeners[1].address: is missing",
        "FILE:6: listeners[1].tls.key: is missing",
        "FILE:11: passwords.queue: 'many' is no value for it; it takes a whole number from 1 to 10000",
        "FILE:8: log.level: 'loud' is no value for it; it takes one of debug, info, warning, error",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a\n- b\n", "FILE:1: a list is not a section with keys of its own"),
        ("log:\n  level: [a\n", "FILE:3: this is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("server_name: 'a\x00b'", "FILE:1: this is not YAML: special characters are not allowed"),
        ("server_name: a\nserver_name: b", "FILE:2: server_name: is given twice; the first is in line 1"),
        ("server_name:", "FILE:1: server_name: nothing is no value for it; it takes a server name in lower case, such"),
        ("server_name: [a]", "FILE:1: server_name: a list is no value for it"),
        ("data_directory: ''", "FILE:1: data_directory: '' is no value for it; it takes a path"),
        ("data_directory: ~nobody-here/x", "FILE:1: data_directory: '~nobody-here/x' names a home directory that is"),
        ("[a]: b", "FILE:1: ?: there is no such key; there are: server_name, public_base_url, data_directory"),
        ("listeners: {address: x}", "FILE:1: listeners: a section with keys of its own is not a list; write one"),
        ("listeners: []", "FILE:1: listeners: none of them serves `client`, so nobody could log in"),
        ("listeners: [{address: 'x:1', resources: []}]", "FILE:1: listeners: none of them serves"),
        ("listeners: [{address: 'x:99999'}]", "FILE:1: listeners[0].address: 'x:99999' is no value"),
        ("listeners: [{address: '::1:80'}]", "FILE:1: listeners[0].address: '::1:80' is no value"),
        ("listeners: [{address: ':80'}]", "FILE:1: listeners[0].address: ':80' is no value"),
        ("listeners: [{address: 'a:1'}, {address: 'a:1'}]", "FILE:1: listeners[1].address: another listener already"),
        ("public_base_url: chat.example.org", "FILE:1: public_base_url: 'chat.example.org' is no value for it"),
        ("public_base_url: 'https://x:y'", "FILE:1: public_base_url: 'https://x:y' is no value for it"),
        ("database: {url: 'sqlite:///x'}", "FILE:1: database.url: 'sqlite:///x' is no value for it; it takes a URL"),
        ("database: {read_connections: 60}", "FILE:1: database.read_connections: all pools together have 64"),
        ("database: {url: 'postgresql://h/d', user_account: x}", "FILE:1: database.user_account: is only for"),
        ("rooms: {default_version: 13}", "FILE:1: rooms.default_version: '13' is no value for it; it takes one of 1,"),
        ("registration: {policy: open}", "FILE:1: registration.policy: `open` lets anybody make accounts"),
        ("registration: {policy: token}", "FILE:1: registration.policy: `token` needs at least one token"),
        ("registration: {policy: open+guests}", "FILE:1: registration.policy: `open` lets anybody make accounts"),
        ("registration: {policy: token+guests}", "FILE:1: registration.policy: `token` needs at least one token"),
        ("registration: {tokens: ['a b']}", "FILE:1: registration.tokens: 'a b' in the list is not 1 to 64 characters"),
        ("registration: {shared_secret: ''}", "FILE:1: registration.shared_secret: '' is no value for it"),
        ("passwords: {time_cost: 0}", "FILE:1: passwords.time_cost: '0' is no value for it; it takes a whole number"),
        ("passwords: {time_cost: 1e3}", "FILE:1: passwords.time_cost: '1e3' is no value for it"),
        ("limits: {enabled: maybe}", "FILE:1: limits.enabled: 'maybe' is no value for it; it takes true or false"),
        ("limits: {overrides: [a]}", "FILE:1: limits.overrides: a list is no value for it; it takes rows such as"),
        ("limits: {overrides: {messages: 3}}", "FILE:1: limits.overrides: '3' for messages is not {per_second: NUMBER"),
        ("limits: {overrides: {messages: {burst: x}}}", "FILE:1: limits.overrides: 'x' is not a number; it takes"),
        ("limits: {overrides: {mesages: null}}", "FILE:1: limits.overrides: no such limits: mesages; the rows are:"),
        ("http: {drain_seconds: .inf}", "FILE:1: http.drain_seconds: '.inf' is no value for it; it takes a number"),
        ("network: {allow_private: [10.0.0.1/8]}", "FILE:1: network.allow_private: '10.0.0.1/8' in the list is not"),
    ],
)
def test_wrong_files(text: str, complaint: str) -> None:
    """One mistake, one line that names the place and the remedy."""
    found = problems(text)
    assert found[0].startswith(complaint), found


def test_wrong_environment_and_flags() -> None:
    """The complaint names the variable or the flag instead of a line."""
    environment = {"PARLEY_LOG_LEVL": "x", "PARLEY_LIMITS_OVERRIDES": "[", "PARLEY_HTTP_TRUSTED_PROXIES": ""}
    assert problems(environment=environment, server_name="a b", listen=["8008"]) == [
        "PARLEY_LIMITS_OVERRIDES: limits.overrides: this is not YAML: expected the node content, but found "
        "'<stream end>'",
        "environment: PARLEY_LOG_LEVL: there is no such setting; did you mean PARLEY_LOG_LEVEL?",
        "--server-name: server_name: 'a b' is no value for it; it takes a server name in lower case, such as "
        "example.org, chat or example.org:8448",
        "--listen: listeners[0].address: '8008' is no value for it; it takes an address with a port, such as "
        "127.0.0.1:8008, [::1]:8008 or localhost:8008",
        "PARLEY_HTTP_TRUSTED_PROXIES: http.trusted_proxies: nothing is no value for it; it takes a list; each item "
        "`loopback` or a network such as 10.0.0.0/8 or fd00::/8",
    ]


def test_secrets_are_not_shown() -> None:
    """A tree of settings in a log gives no secret away."""
    text = "registration: {shared_secret: hush, tokens: [hush]}\ndatabase: {url: 'postgresql://u:hush@h/d'}"
    assert "hush" not in repr(load(text))


def test_for_tests_sets_what_it_says_and_nothing_else() -> None:
    """The same as the single settings that it stands for, on top of a file."""
    text = "server_name: example.org\nnetwork: {allow_private: [10.0.0.0/8]}\npasswords: {queue: 3}\n"
    single = """\
server_name: example.org
network: {allow_private: [10.0.0.0/8, loopback]}
passwords: {queue: 3, time_cost: 1, memory_kib: 8}
registration: {policy: open+guests, allow_unverified_open: true}
limits: {enabled: false}
"""
    assert load(text, for_tests=True) == load(single)
    assert load(text, for_tests=False) == load(text)


@pytest.mark.parametrize("address", ["0.0.0.0:8008", "[::]:8008", "192.168.1.1:80", "example.org:80"])
def test_for_tests_stays_at_home(address: str) -> None:
    """A server without any defence does not listen to other machines, whoever asks for it."""
    complaint = f"--for-tests listens on loopback only, not on {address}"
    assert problems(for_tests=True, listen=[address]) == [f"--listen: listeners[0].address: {complaint}"]
    assert problems(f"listeners: [{{address: '{address}'}}]", for_tests=True)[0].endswith(complaint)


def test_tls_files(tmp_path: Path) -> None:
    """A certificate with its key is taken; a missing file, a wrong key and nonsense are named."""
    authority = trustme.CA()
    chain, key, other = (tmp_path / name for name in ("chain.pem", "key.pem", "other.pem"))
    certificate = authority.issue_cert("localhost")
    chain.write_bytes(certificate.cert_chain_pems[0].bytes())
    certificate.private_key_pem.write_to_path(str(key))
    authority.issue_cert("localhost").private_key_pem.write_to_path(str(other))

    def check(certificate: Path, key: Path) -> list[str]:
        tls = Tls(certificate=certificate, key=key)
        listener = Listener(address=Address("127.0.0.1", 8448), tls=tls)
        return [str(problem) for problem in check_files(Settings(listeners=(listener,)))]

    assert check(chain, key) == []
    for pair in ((chain, other), (chain, tmp_path / "missing"), (key, key)):
        assert check(*pair)[0].startswith("listeners[0].tls: /")


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([name.partition(".")[0].removesuffix("[]") for name, _ in keys_of()]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_", max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_any_content_is_settings_or_problems(content: dict[str, Any]) -> None:
    """Whatever stands under the keys, the outcome is settings or a SettingsError that has something to say."""
    try:
        load(json.dumps(content))
    except SettingsError as error:
        assert error.problems and all(problem.message for problem in error.problems)
