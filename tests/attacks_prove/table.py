"""The declared table: which test needs which defence, and how this is switched off.

A test with two defences has two rows, each with the cases that its defence is for. A new `test_attack_...` is a new
row: tests/architecture/test_attacks_listed.py sees to it. The attacks: ../shared/design/attacks.md.
"""

from dataclasses import dataclass

from tests.attacks_prove import weaker
from tests.attacks_prove.switches import Switch, bound, instead, limit, nothing


@dataclass(frozen=True)
class Row:
    """`test` is a node id without parameters; `cases` are parts of parameters, one of which a case must have."""

    attack: int
    test: str
    switch: Switch
    cases: tuple[str, ...] = ()

    def is_of(self, node_id: str) -> bool:
        """Whether a node id, with its parameters, is a case of this row."""
        test, _, parameters = node_id.partition("[")
        return test == self.test and (not self.cases or any(case in parameters for case in self.cases))


CANONICAL, FORMAT = "tests/domain/test_canonical.py::", "tests/domain/test_format.py::"
BODIES, CONNECTIONS = "tests/http/test_bodies.py::", "tests/http/test_connections.py::"
CLIENTS_04, CLIENTS_60 = "tests/clients/test_attack_04.py::", "tests/clients/test_attack_60.py::"

PLAIN_JSON = instead("homeserver.domain.canonical.parse_json", weaker.plain_json_loads)
ANY_SIZE = nothing("homeserver.http.body.refuse_size")
# Imported by name: switched off where it is used.
ANY_CONTENT_TYPE = nothing("homeserver.http.request.refuse_content_type")
ANY_LENGTH = nothing("homeserver.domain.format._check_lengths")
NEVER_UNAVAILABLE = instead("homeserver.storage.database._gave_up", weaker.unchanged)
SLOW_HEADS = limit("head_seconds", 3600.0)

TABLE = (
    Row(1, FORMAT + "test_attack_01_depth_overflow", nothing("homeserver.domain.format.check_fields")),
    Row(
        1,
        "tests/domain/test_draft.py::test_attack_01_our_depth_stops_at_the_limit",
        instead("homeserver.domain.draft.max_depth", weaker.endless_depth),
    ),
    Row(
        2,
        FORMAT + "test_attack_02_numbers_beyond_canonical_json",
        instead("homeserver.domain.format.checked_json", weaker.unchecked_json),
    ),
    Row(4, CANONICAL + "test_attack_04_what_is_no_json", PLAIN_JSON),
    Row(4, CANONICAL + "test_attack_04_json_that_we_refuse", PLAIN_JSON),
    Row(4, CANONICAL + "test_attack_04_numbers_that_only_old_rooms_allow", PLAIN_JSON),
    Row(
        4,
        FORMAT + "test_attack_04_deep_events",
        instead("homeserver.domain.format.checked_json", weaker.unchecked_json),
    ),
    Row(4, BODIES + "test_attack_04_hostile_json_is_a_4xx", PLAIN_JSON),
    Row(4, CLIENTS_04 + "test_attack_04_hostile_values_in_bodies", PLAIN_JSON),
    Row(4, CLIENTS_04 + "test_attack_04_hostile_bodies_everywhere", PLAIN_JSON),
    Row(4, CLIENTS_04 + "test_attack_04_hostile_values_in_queries", PLAIN_JSON, ("filter",)),
    Row(
        4,
        CLIENTS_04 + "test_attack_04_hostile_values_in_queries",
        instead("homeserver.http.request.Request.integer", weaker.plain_int),
        ("limit", "timeout"),
    ),
    Row(
        4,
        CLIENTS_04 + "test_attack_04_many_keys_are_bounded",
        bound("homeserver.services.accounts.data.MAX_CONTENT_BYTES", 2**40),
    ),
    Row(
        4,
        CLIENTS_04 + "test_attack_04_what_is_kept_can_be_read_again",
        instead("homeserver.services.kept_json.kept_json", weaker.canonical_text),
    ),
    Row(5, FORMAT + "test_attack_05_too_many_references", nothing("homeserver.domain.format._check_references")),
    Row(5, FORMAT + "test_attack_05_long_identifiers", ANY_LENGTH),
    Row(5, FORMAT + "test_attack_05_large_events", ANY_LENGTH),
    Row(
        11,
        "tests/domain/test_authorization_rules.py::test_attack_11_auth_events_of_another_room",
        nothing("homeserver.domain.authorization.rules.check_auth_events"),
    ),
    Row(
        12,
        "tests/domain/test_verdict.py::test_attack_12_a_rejected_auth_event",
        nothing("homeserver.domain.authorization.rules.check_auth_events"),
    ),
    Row(15, FORMAT + "test_attack_15_room_ids_of_version_12", nothing("homeserver.domain.format._check_room_id")),
    Row(
        17,
        "tests/domain/test_resolution.py::test_attack_17_a_chain_of_100_000_links",
        instead("homeserver.domain.resolution.graph.topological_order", weaker.recursive_order),
    ),
    Row(
        37,
        BODIES + "test_attack_37_a_gigabyte_is_refused_before_it_is_sent",
        ANY_SIZE,
        ("application/json", "text/plain"),
    ),
    Row(
        37,
        BODIES + "test_attack_37_a_gigabyte_is_refused_before_it_is_sent",
        ANY_CONTENT_TYPE,
        ("multipart", "image", "application/xml"),
    ),
    Row(37, BODIES + "test_attack_37_an_endless_body_is_refused_while_it_comes", ANY_SIZE, ("application/json",)),
    Row(37, BODIES + "test_attack_37_an_endless_body_is_refused_while_it_comes", ANY_CONTENT_TYPE, ("multipart",)),
    Row(
        38,
        BODIES + "test_attack_38_compressed_requests_are_refused",
        nothing("homeserver.http.body.refuse_encoding"),
    ),
    Row(
        38,
        BODIES + "test_attack_38_answers_are_never_compressed",
        instead("homeserver.http.answers.json_answer", weaker.gzipped),
    ),
    Row(57, CONNECTIONS + "test_attack_57_a_slow_head_is_given_up", SLOW_HEADS),
    Row(57, CONNECTIONS + "test_attack_57_a_slow_second_head_is_given_up", SLOW_HEADS),
    Row(57, CONNECTIONS + "test_attack_57_a_half_open_handshake_is_given_up", limit("handshake_seconds", 3600.0)),
    Row(57, BODIES + "test_attack_57_a_slow_body_is_given_up", limit("body_grace_seconds", 3600.0)),
    Row(57, BODIES + "test_attack_57_a_trickling_body_is_given_up", limit("body_bytes_per_second", 1)),
    Row(
        57,
        CONNECTIONS + "test_attack_57_memory_is_flat_after_20_000_anonymous_connections",
        limit("max_anonymous", 100_000),
    ),
    Row(60, CLIENTS_60 + "test_attack_60_writes_are_refused_and_reads_go_on", NEVER_UNAVAILABLE),
    Row(60, CLIENTS_60 + "test_attack_60_no_acknowledged_message_is_lost", NEVER_UNAVAILABLE),
    Row(60, CLIENTS_60 + "test_attack_60_no_room_for_the_file_of_positions", NEVER_UNAVAILABLE),
    Row(
        60,
        CLIENTS_60 + "test_attack_60_the_clock_jumps",
        instead("homeserver.domain.throttle.Throttle.believable", weaker.believe_anything),
    ),
)
