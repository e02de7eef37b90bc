"""The declared table: which test needs which defence, and how this is switched off.

A test with two defences has two rows, each with the cases that its defence is for. A new `test_attack_...` is a new
row: tests/architecture/test_attacks_listed.py sees to it. The attacks: ../shared/design/attacks.md.
"""

from dataclasses import dataclass

from tests.attacks_prove import weaker, weaker_federation, weaker_reads, weaker_search, weaker_signatures
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
PDUS, KEYRING = "tests/federation/test_pdus.py::", "tests/federation/test_keyring.py::"
BODIES, CONNECTIONS = "tests/http/test_bodies.py::", "tests/http/test_connections.py::"
SPACES = "tests/clients/test_spaces.py::"
CLIENTS_04, CLIENTS_60 = "tests/clients/test_attack_04.py::", "tests/clients/test_attack_60.py::"
SERVING = "tests/services/rooms/remote/test_serving.py::"
SEARCH = "tests/clients/test_search.py::"
CLIENTS_42 = "tests/clients/test_attack_42.py::"
SENDING, WAYS_IN = "tests/federation/test_hostile_sending.py::", "tests/federation/test_hostile_ways_in.py::"
JOINING, GAPS = "tests/federation/test_hostile_joining.py::", "tests/federation/test_hostile_gaps.py::"
EDUS = "tests/federation/test_hostile_edus.py::"

OUTBOUND, STRANGER = "tests/http/test_outbound_client.py::", "tests/federation/test_attack_29.py::"
OUTBOUND_03 = "tests/federation/outbound/test_attack_03.py::"

PLAIN_JSON = instead("homeserver.domain.canonical.parse_json", weaker.plain_json_loads)
ANY_SIZE = nothing("homeserver.http.body.refuse_size")
# Imported by name: switched off where it is used.
ANY_CONTENT_TYPE = nothing("homeserver.http.request.refuse_content_type")
ANY_LENGTH = nothing("homeserver.domain.format._check_lengths")
NEVER_UNAVAILABLE = instead("homeserver.storage.database._gave_up", weaker.unchanged)
ANYBODY_LOOKS = instead("homeserver.services.rooms.preview.may_preview", weaker.anybody_may)
ANY_ADDRESS = nothing("homeserver.http.outbound.guard.AddressGuard.check")
SLOW_HEADS = limit("head_seconds", 3600.0)
ANY_REFERENCES = nothing("homeserver.domain.format._check_references")
ANY_SIGNERS = instead("homeserver.domain.signing.required_signers", weaker_signatures.of_the_sender_alone)
IN_EVERY_ROOM = instead("homeserver.storage.residents.Residents.is_joined", weaker_reads.anybody)
WHOLE_EVENTS = instead("homeserver.services.rooms.remote.serving.whole_for_server", weaker_reads.every_event)
ANY_FIELDS = nothing("homeserver.domain.format.check_fields")
ANY_DEPTH = instead("homeserver.domain.draft.max_depth", weaker.endless_depth)
ANY_HASH = instead("homeserver.domain.hashing.check_content_hash", weaker_signatures.always)
ANY_SIGNATURE = nothing("federation.keyring._judge")
ANY_AUTHORITY = nothing("homeserver.domain.authorization.rules.check_auth_events")
ANY_MEMBERSHIP = nothing("federation.joining.incoming.check_as_named")
MANY_TRIES = bound("federation.inbound.waiting.MAX_TRIES", 10)
ALL_VISIBLE = instead("homeserver.services.server_access.can_see", weaker_reads.anybody)
NEVER_IN_PARTS = nothing("federation.outbound.destination.Destination._split")

TABLE = (
    Row(1, FORMAT + "test_attack_01_depth_overflow", ANY_FIELDS),
    Row(1, "tests/domain/test_draft.py::test_attack_01_our_depth_stops_at_the_limit", ANY_DEPTH),
    Row(1, SENDING + "test_attack_01_depths_that_are_none", ANY_FIELDS),
    Row(1, SENDING + "test_attack_01_the_deepest_event", ANY_DEPTH),
    Row(1, JOINING + "test_attack_01_a_template_that_is_too_deep", ANY_DEPTH),
    Row(
        1,
        JOINING + "test_attack_01_an_invite_by_the_rules_of_another_version",
        nothing("homeserver.services.rooms.remote.invited.check_version"),
    ),
    Row(
        2,
        FORMAT + "test_attack_02_numbers_beyond_canonical_json",
        instead("homeserver.domain.format.checked_json", weaker.unchecked_json),
    ),
    Row(3, OUTBOUND_03 + "test_attack_03_a_refused_event_is_set_aside", NEVER_IN_PARTS),
    Row(3, OUTBOUND_03 + "test_attack_03_refused_ephemeral_units_hold_up_no_event", NEVER_IN_PARTS),
    Row(
        3,
        OUTBOUND_03 + "test_attack_03_an_event_over_which_a_server_fails_is_set_aside_at_last",
        bound("federation.outbound.destination.MOST_BROKEN", 2**40),
    ),
    Row(
        2,
        SENDING + "test_attack_02_one_bad_event_of_fifty",
        instead("federation.inbound.pdus.PduChecks.check", weaker_federation.all_or_none),
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
    Row(5, FORMAT + "test_attack_05_too_many_references", ANY_REFERENCES),
    Row(5, PDUS + "test_attack_05_too_many_references", ANY_REFERENCES),
    Row(5, PDUS + "test_attack_05_too_large_or_too_long", ANY_LENGTH),
    Row(5, FORMAT + "test_attack_05_long_identifiers", ANY_LENGTH),
    Row(5, FORMAT + "test_attack_05_large_events", ANY_LENGTH),
    Row(6, PDUS + "test_attack_06_wrong_content_hash", ANY_HASH),
    Row(6, PDUS + "test_attack_06_wrong_or_missing_signatures", ANY_SIGNATURE),
    Row(6, WAYS_IN + "test_attack_06_forged_content_by_every_way", ANY_HASH),
    Row(6, WAYS_IN + "test_attack_06_unsigned_by_every_way", ANY_SIGNATURE),
    Row(6, WAYS_IN + "test_attack_06_memberships_that_come_spoiled", ANY_HASH, ("forged",)),
    Row(6, WAYS_IN + "test_attack_06_memberships_that_come_spoiled", ANY_SIGNATURE, ("signed",)),
    Row(6, WAYS_IN + "test_attack_06_what_an_invite_tells_of_the_room", ANY_HASH, ("forged",)),
    Row(6, WAYS_IN + "test_attack_06_what_an_invite_tells_of_the_room", ANY_SIGNATURE, ("unsigned",)),
    Row(6, WAYS_IN + "test_attack_06_what_a_knock_is_told_of_the_room", ANY_HASH, ("forged",)),
    Row(6, WAYS_IN + "test_attack_06_what_a_knock_is_told_of_the_room", ANY_SIGNATURE, ("unsigned",)),
    Row(6, WAYS_IN + "test_attack_06_a_join_without_the_create_event", ANY_SIGNATURE),
    Row(6, PDUS + "test_attack_06_the_server_of_the_event_id", ANY_SIGNERS),
    Row(6, PDUS + "test_attack_06_who_vouches_for_a_restricted_join", ANY_SIGNERS),
    Row(
        7,
        KEYRING + "test_attack_07_keys_that_do_not_count_at_the_event",
        instead("homeserver.domain.server_keys.ServerKey.counts_at", weaker_signatures.always),
    ),
    Row(8, JOINING + "test_attack_08_another_event_than_the_path_says", ANY_MEMBERSHIP),
    Row(8, JOINING + "test_attack_08_an_invite_of_something_else", ANY_MEMBERSHIP),
    Row(8, JOINING + "test_attack_08_an_invite_of_another_server", ANY_MEMBERSHIP),
    Row(
        9,
        JOINING + "test_attack_09_a_template_of_something_else",
        instead("federation.joining.template.read_template", weaker_federation.any_template),
    ),
    Row(
        10,
        JOINING + "test_attack_10_an_answer_that_is_no_room",
        nothing("federation.joining.outgoing.refuse_other_rooms"),
        ("another room",),
    ),
    Row(
        10,
        JOINING + "test_attack_10_a_version_that_is_not_the_rooms",
        instead("homeserver.services.rooms.remote.entering.check_state", weaker_federation.any_state),
    ),
    Row(
        10,
        JOINING + "test_attack_10_a_join_that_was_changed_when_it_was_co_signed",
        instead("federation.joining.outgoing.OutgoingMembership._cosigned", weaker_federation.whatever_comes_back),
    ),
    Row(11, "tests/domain/test_authorization_rules.py::test_attack_11_auth_events_of_another_room", ANY_AUTHORITY),
    Row(11, SENDING + "test_attack_11_what_authorises_nothing", ANY_AUTHORITY),
    Row(11, SENDING + "test_attack_11_what_authorises_is_nowhere", MANY_TRIES),
    Row(12, "tests/domain/test_verdict.py::test_attack_12_a_rejected_auth_event", ANY_AUTHORITY),
    Row(12, SENDING + "test_attack_12_what_cites_a_rejected_event", ANY_AUTHORITY),
    Row(15, FORMAT + "test_attack_15_room_ids_of_version_12", nothing("homeserver.domain.format._check_room_id")),
    Row(
        17,
        "tests/domain/test_resolution.py::test_attack_17_a_chain_of_100_000_links",
        instead("homeserver.domain.resolution.graph.topological_order", weaker.recursive_order),
    ),
    Row(
        17,
        "tests/services/rooms/remote/test_serving_bounds.py::test_attack_17_an_auth_chain_of_100_000_links",
        instead("homeserver.storage.graph.Graph.walk_auth_chain", weaker_reads.level_by_level),
    ),
    Row(
        19,
        GAPS + "test_attack_19_lies_about_missing_events",
        bound("federation.inbound.gaps.MAX_ROUNDS", 1000),
        ("endless",),
    ),
    Row(
        19,
        GAPS + "test_attack_19_lies_about_missing_events",
        bound("federation.inbound.gaps.MAX_FETCHES", 1000),
        ("crowds",),
    ),
    Row(19, GAPS + "test_attack_19_lies_about_the_state", MANY_TRIES),
    Row(
        19,
        GAPS + "test_attack_19_a_circle_of_events",
        instead("homeserver.domain.event_order.oldest_first", weaker_federation.one_after_the_other),
    ),
    Row(
        19,
        GAPS + "test_attack_19_history_without_end",
        bound("homeserver.services.rooms.history.MAX_FILLS", 1000),
    ),
    Row(
        19,
        GAPS + "test_attack_19_history_that_leads_nowhere",
        instead("federation.history.leading_to", weaker_federation.all_that_is_told),
    ),
    Row(
        20,
        "tests/domain/test_server_acl.py::test_attack_20_lists_that_are_made_to_be_slow",
        instead("homeserver.domain.server_acl.Globs", weaker_signatures.OneByOne),
        ("stars",),
    ),
    Row(
        23,
        EDUS + "test_attack_23_users_of_other_servers",
        instead("federation.inbound.edus._is_of", weaker_signatures.always),
    ),
    Row(
        23,
        EDUS + "test_attack_23_users_who_are_not_in_the_room",
        instead("homeserver.services.access.joined_room", weaker_federation.known_room),
    ),
    Row(
        28,
        KEYRING + "test_attack_28_a_notary_is_not_trusted_blindly",
        instead("federation.key_lookups._is_signed", weaker_signatures.always),
        ("unsigned", "wrong key", "stranger"),
    ),
    Row(
        28,
        KEYRING + "test_attack_28_a_notary_is_not_trusted_blindly",
        instead("homeserver.domain.server_keys.verify_json", weaker_signatures.always),
        ("changed",),
    ),
    Row(
        28,
        "tests/federation/test_key_fetching.py::test_attack_28_a_huge_answer",
        bound("homeserver.domain.server_keys.MAX_ANSWER_BYTES", 2**22),
    ),
    Row(
        28,
        KEYRING + "test_attack_28_a_notary_replaces_no_known_key",
        instead("homeserver.domain.server_keys.merge_keys", weaker_signatures.whatever_is_newer),
    ),
    Row(29, STRANGER + "test_attack_29_a_body_of_ten_gigabytes", bound("federation.well_known.MAX_BYTES", 2**40)),
    Row(29, STRANGER + "test_attack_29_an_endless_redirect", bound("federation.well_known.MAX_REDIRECTS", 10**6)),
    Row(29, STRANGER + "test_attack_29_a_redirect_into_our_network", ANY_ADDRESS),
    Row(29, STRANGER + "test_attack_29_a_name_that_changes_its_address", ANY_ADDRESS),
    Row(30, OUTBOUND + "test_attack_30_no_caller_reaches_an_internal_address", ANY_ADDRESS),
    Row(30, OUTBOUND + "test_attack_30_no_other_spelling_of_loopback", ANY_ADDRESS),
    Row(30, OUTBOUND + "test_attack_30_one_public_address_does_not_open_the_others", ANY_ADDRESS),
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
    Row(40, SERVING + "test_attack_40_servers_outside_the_room_read_nothing", IN_EVERY_ROOM),
    Row(40, "tests/federation/test_reading.py::test_attack_40_every_way_is_closed_to_strangers", IN_EVERY_ROOM),
    Row(40, SERVING + "test_attack_40_what_was_said_before_the_join_comes_redacted", WHOLE_EVENTS),
    Row(40, SERVING + "test_attack_40_outliers_never_leak", WHOLE_EVENTS, ("event",)),
    Row(40, SERVING + "test_attack_40_old_state_comes_redacted_where_the_event_is_hidden", ALL_VISIBLE),
    Row(40, SERVING + "test_attack_40_time_tells_nothing_of_what_is_hidden", ALL_VISIBLE),
    Row(
        40,
        SERVING + "test_attack_40_events_of_another_room_are_not_found_through_this_one",
        instead("homeserver.services.rooms.remote.serving_state._served_event", weaker_reads.event_of_any_room),
        ("event_auth", "state"),
    ),
    Row(
        40,
        SERVING + "test_attack_40_events_of_another_room_are_not_found_through_this_one",
        instead("homeserver.storage.graph.Graph.walk_backwards", weaker_reads.walk_any_room),
        ("backfill", "missing"),
    ),
    Row(
        40,
        "tests/services/rooms/remote/test_serving_spaces.py::test_attack_40_private_rooms_of_a_space_are_not_told",
        instead("homeserver.services.rooms.remote.serving_spaces._is_open", weaker_reads.anybody),
    ),
    Row(41, SPACES + "test_attack_41_a_summary_does_not_tell_whether_a_room_is_there", ANYBODY_LOOKS),
    Row(41, SPACES + "test_attack_41_the_tree_of_a_private_space_is_closed", ANYBODY_LOOKS),
    Row(
        41,
        SPACES + "test_attack_41_members_of_a_private_room_are_for_members",
        instead("homeserver.services.access.readable_room", weaker.any_room),
    ),
    Row(
        41,
        SEARCH + "test_attack_41_strangers_find_nothing",
        instead("homeserver.services.search.search.rooms_of", weaker_search.rooms_of_every_kind),
    ),
    Row(
        41,
        SEARCH + "test_attack_41_hidden_history_is_not_found",
        instead("homeserver.services.access.can_see", weaker_reads.anybody),
    ),
    Row(42, SEARCH + "test_attack_42_redacted_is_not_found", nothing("homeserver.storage.search.Search.remove")),
    Row(
        42,
        CLIENTS_42 + "test_attack_42_redacted_content_is_nowhere",
        nothing("homeserver.services.rooms.projections.redactions.apply"),
    ),
    Row(
        42,
        CLIENTS_42 + "test_attack_42_edits_go_with_what_they_edit",
        instead("homeserver.services.aggregations.is_editable", weaker.edits_of_anything),
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
    Row(
        60,
        "tests/stories/test_kill.py::test_attack_60_a_burst_of_sends_that_dies_at_every_statement",
        instead("homeserver.storage.rooms.Rooms.lock_for", weaker.sent_for_the_first_time),
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
