"""Every bound of the house in one table: what is refused, from where on, why, and as which error.

For: whoever reads something from outside imports the plain constant (`from shahar.values.bounds import BODY_BYTES`);
the table `BOUNDS` and the page docs/bounds.md are made from the same lines, so a bound cannot be told differently from
how it is kept.
Promises: each bound is stated once, is a positive int, and has a reason.
Does not: enforce; the rooms that read do. Settings that a city may change are in config.py, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from shahar.values.errors import (
    Invalid,
    ShaharError,
    TooComplex,
    TooFast,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound; `refused_as` is the error, or a sentence where nothing is refused but something else happens."""

    name: str
    part: str
    value: int
    unit: str
    why: str
    refused_as: type[ShaharError] | str


_table: dict[str, Bound] = {}
BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(_table)
"""Every bound by its name (the constant's name in small letters), in the order of this file."""


class _Part:
    """A group of the table; calling it states a bound and gives its value back."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __call__(self, name: str, value: int, unit: str, refused_as: type[ShaharError] | str, why: str) -> int:
        if name in _table:
            raise ValueError(f"the bound {name} is stated twice")
        _table[name] = Bound(name, self.title, value, unit, why, refused_as)
        return value


_request = _Part("A request")
ADDRESS_BYTES: Final = _request(
    "address_bytes", 8 * KIB, "bytes", TooLarge, "path and query of an address; longer questions go by POST"
)
HEADERS_BYTES: Final = _request(
    "headers_bytes", 16 * KIB, "bytes", TooLarge, "all header fields together; contexts and keys fit many times"
)
HEADERS: Final = _request("headers", 100, "fields", TooLarge, "each is looked at for every request")
BODY_BYTES: Final = _request(
    "body_bytes", 4 * MIB, "bytes", TooLarge, "one entity, subscription or query; kept in memory while it is read"
)
BATCH_BYTES: Final = _request(
    "batch_bytes", 16 * MIB, "bytes", TooLarge, "1 000 entities of 16 KiB; kept in memory while it is read"
)
FORM_BYTES: Final = _request("form_bytes", 64 * KIB, "bytes", TooLarge, "forms of pages and the bodies about accounts")
BODY_S: Final = _request(
    "body_s", 30, "s", "the connection is closed", "to send a body; a slow sender must not hold a place for ever"
)
TEMPORAL_TOLD: Final = _request(
    "temporal_told", 10_000, "instances", TooLarge, "history told in one request is one work of the writer"
)
BATCH_ENTITIES: Final = _request(
    "batch_entities", 1_000, "entities", TooLarge, "one batch is one work of the writer, whom others wait for"
)

_document = _Part("A document")
JSON_DEPTH: Final = _document(
    "json_depth",
    64,
    "levels",
    TooLarge,
    "the deepest example of our Smart Data Models has 9; walks over documents recurse",
)
STRING_BYTES: Final = _document(
    "string_bytes", 256 * KIB, "bytes", TooLarge, "one text; pictures and files do not belong in an attribute"
)
LIST_ITEMS: Final = _document("list_items", 10_000, "items", TooLarge, "one list of an attribute's value")
ID_CHARS: Final = _document(
    "id_chars", 1_024, "characters", Invalid, "an entity's or other record's id; ids are keys of indexes"
)
NAME_CHARS: Final = _document(
    "name_chars", 1_024, "characters", Invalid, "an attribute's, type's or dataset's whole IRI; kept for ever once seen"
)
TENANT_CHARS: Final = _document(
    "tenant_chars", 63, "characters", Invalid, "a tenant's name stands in addresses, topics and file names"
)
ENTITY_TYPES: Final = _document(
    "entity_types", 32, "types", TooLarge, "types of one entity; each is a row of the index of types"
)
ENTITY_SCOPES: Final = _document("entity_scopes", 32, "scopes", TooLarge, "scopes (places in trees) of one entity")
ENTITY_ATTRIBUTES: Final = _document(
    "entity_attributes", 1_000, "attributes", TooLarge, "an entity is one row and is read and written whole"
)
ATTRIBUTE_INSTANCES: Final = _document(
    "attribute_instances", 100, "datasets", TooLarge, "instances of one attribute, one for each datasetId"
)
ATTRIBUTE_LEVELS: Final = _document("attribute_levels", 8, "levels", TooLarge, "attributes of attributes")
LANGUAGES: Final = _document("languages", 100, "languages", TooLarge, "entries of one language map")
GEOMETRY_POSITIONS: Final = _document(
    "geometry_positions",
    10_000,
    "positions",
    Invalid,
    "the largest outline of a district that we ship has 1 530; exact predicates visit each",
)

_question = _Part("A question")
QUERY_CHARS: Final = _question("query_chars", 4 * KIB, "characters", Invalid, "one expression: q, type, scope")
QUERY_TERMS: Final = _question(
    "query_terms", 64, "terms", Invalid, "comparisons in one expression; the engine's statement grows with them"
)
QUERY_LEVELS: Final = _question("query_levels", 16, "levels", Invalid, "brackets within brackets")
QUERY_NAMES: Final = _question("query_names", 1_000, "names", TooLarge, "ids, or attribute names, in one question")
PATTERN_CHARS: Final = _question(
    "pattern_chars", 256, "characters", Invalid, "a pattern is tried on every row; long ones are slow ones"
)
PAGE_LIMIT: Final = _question("page_limit", 1_000, "entities", TooMany, "a page is built in memory before it is sent")
PAGE_OFFSET: Final = _question("page_offset", 1_000_000, "entities", TooMany, "skipped rows are read all the same")
TEMPORAL_PAGE: Final = _question(
    "temporal_page",
    39,
    "instances",
    "the answer is a part (206) and its Content-Range says up to when",
    "history in one answer, unless `Prefer: maxpagesize` asks for more; the official cases want a part of 40",
)
TEMPORAL_INSTANCES: Final = _question(
    "temporal_instances", 50_000, "instances", TooMany, "the most that `Prefer: maxpagesize` gives; built in memory"
)
TEMPORAL_LAST: Final = _question("temporal_last", 10_000, "instances", Invalid, "lastN of each series")
TEMPORAL_PERIODS: Final = _question(
    "temporal_periods", 10_000, "periods", TooMany, "periods of one aggregated answer; longer ones say the same"
)
RETENTION_RULES: Final = _question("retention_rules", 200, "rules", TooMany, "each is tried on every sealed day")
RETENTION_DAYS: Final = _question("retention_days", 36_525, "days", Invalid, "a hundred years are for ever")
QUERY_S: Final = _question("query_s", 15, "s", TooComplex, "a question holds one of the few readers")

_context = _Part("Contexts")
CONTEXT_BYTES: Final = _context(
    "context_bytes", MIB, "bytes", TooLarge, "one @context document; it is parsed in memory"
)
CONTEXT_TERMS: Final = _context(
    "context_terms", 20_000, "terms", Invalid, "terms of one compiled context; it stays in memory"
)
CONTEXTS_PER_REQUEST: Final = _context(
    "contexts_per_request", 16, "contexts", Invalid, "contexts named by one request, each may cost a fetch"
)
CONTEXT_LEVELS: Final = _context(
    "context_levels", 8, "levels", Invalid, "a context that names a context that names another"
)
CONTEXT_SCOPES: Final = _context(
    "context_scopes", 1_000, "contexts", Invalid, "scoped contexts of one @context; their terms count among its terms"
)
CONTEXT_CHAIN: Final = _context(
    "context_chain", 32, "terms", Invalid, "a term that is defined by another that is defined by another"
)
CONTEXTS_KEPT: Final = _context(
    "contexts_kept", 1_000, "contexts", "the one unused for longest is dropped", "compiled contexts in memory"
)
CONTEXTS_HOSTED: Final = _context(
    "contexts_hosted", 1_000, "per tenant", TooMany, "contexts that we serve for others; they are memory"
)
CONTEXT_FRESH_S: Final = _context(
    "context_fresh_s", 24 * 3_600, "s", "it is fetched again beside the requests", "a copy of a context elsewhere"
)
CONTEXT_S: Final = _context("context_s", 10, "s", "ContextUnavailable", "to fetch a context that is not known yet")

_notice = _Part("Subscriptions")
SUBSCRIPTIONS: Final = _notice(
    "subscriptions", 10_000, "per tenant", TooMany, "each change is held against the subscriptions of its types"
)
SUBSCRIPTION_ENTITIES: Final = _notice(
    "subscription_entities", 100, "selectors", TooLarge, "entity selectors of one subscription"
)
NOTIFICATION_QUEUE: Final = _notice(
    "notification_queue",
    1_000,
    "per endpoint",
    "later ones are read again from the journal",
    "notifications in memory; a slow endpoint must not fill it",
)
DEAD_LETTERS: Final = _notice(
    "dead_letters", 1_000, "per tenant", "the oldest is dropped", "notifications that were given up, kept to be read"
)
DEAD_LETTER_BYTES: Final = _notice(
    "dead_letter_bytes", 256 * KIB, "bytes", "what was said of it is kept, not its body", "the body of a dead letter"
)
NOTIFICATION_S: Final = _notice("notification_s", 10, "s", "it is tried again later", "for an endpoint to answer")

FORWARDED_SOURCES: Final = _notice(
    "forwarded_sources", 100, "sources", "the others are not subscribed to, and the log says so",
    "that one subscription is forwarded to",
)  # fmt: skip
FORWARDED: Final = _notice(
    "forwarded", 20_000, "per tenant", "no more are forwarded, and the log says so", "subscriptions of ours at sources"
)
FORWARDED_HOPS: Final = _notice(
    "forwarded_hops", 4, "brokers", "it is forwarded no further",
    "that a subscription has passed; among brokers that all know each other its ways are many",
)  # fmt: skip
NOTIFIED_BYTES: Final = _notice(
    "notified_bytes", 8 * MIB, "bytes", TooLarge, "one notification from a source; it is parsed in memory"
)
NOTIFIED_ENTITIES: Final = _notice(
    "notified_entities", 1_000, "entities", TooLarge, "in one notification from a source; each is a row of the journal"
)
NOTIFIED_REMEMBERED: Final = _notice(
    "notified_remembered",
    10_000,
    "each",
    "older ones would be told again",
    "of notifications taken, and of entities",
)

_source = _Part("Registrations")
REGISTRATIONS: Final = _source(
    "registrations", 10_000, "per tenant", TooMany, "each request is held against the registrations of its types"
)
REGISTRATION_INFORMATION: Final = _source(
    "registration_information", 1_000, "elements", TooLarge, "each may become a request of its own to the source"
)
REGISTRATION_PROPERTIES: Final = _source(
    "registration_properties", 100, "properties", TooLarge, "properties of a source's own; a registration is one row"
)

_federation = _Part("Distributed operations")
FEDERATION_S: Final = _federation(
    "federation_s", 5, "s", "what the source has is missing, and named", "for a source without a timeout of its own"
)
FEDERATION_LONGEST_S: Final = _federation(
    "federation_longest_s",
    30,
    "s",
    "the longer wish is cut to it",
    "for which a registration may let us wait",
)
FEDERATION_BYTES: Final = _federation(
    "federation_bytes", 8 * MIB, "bytes", "the answer counts as none", "one answer of a source; it is parsed in memory"
)
FEDERATION_ENTITIES: Final = _federation(
    "federation_entities",
    5_000,
    "entities",
    "the rest is missing, and the answer says so",
    "what one source gives to one question; its entities are put together in memory",
)
FEDERATION_SHARES: Final = _federation(
    "federation_shares", 200, "requests", TooMany, "to sources for one request of a caller"
)
ENTITY_MAP_ENTITIES: Final = _federation(
    "entity_map_entities", 10_000, "entities", TooMany, "that one entity map names; maps are kept in memory"
)
ENTITY_MAPS: Final = _federation(
    "entity_maps", 100, "per actor", "the one longest unused goes", "entity maps; a page of one that went makes it anew"
)
ENTITY_MAPS_ENTITIES: Final = _federation(
    "entity_maps_entities",
    100_000,
    "entities",
    "a map goes of the actor whose maps name most",
    "that all entity maps together name; about 20 MB",
)
ENTITY_MAP_S: Final = _federation(
    "entity_map_s", 600, "s", "the map is made anew", "that an entity map lives when nothing else was wished"
)
ENTITY_MAP_LONGEST_S: Final = _federation(
    "entity_map_longest_s", 24 * 3_600, "s", "the longer wish is cut to it", "that an entity map may live"
)
LINKED_S: Final = _federation(
    "linked_s",
    30,
    "s",
    "what is linked at sources beyond it is missing, and named",
    "to look for linked entities at sources, all levels together",
)
VIA_HOPS: Final = _federation("via_hops", 32, "sources", "the request goes no further", "that a request has passed")

_device = _Part("Devices")
INTAKE_BYTES: Final = _device(
    "intake_bytes", 64 * KIB, "bytes", TooLarge, "one message of a device; a radio's frame has 242 at most"
)
DEVICE_CHARS: Final = _device(
    "device_chars", 64, "characters", Invalid, "a device's name is a level of a topic and a part of addresses"
)
BROKEN_KEPT: Final = _device(
    "broken_kept", 1_000, "messages", "the oldest is dropped", "messages that could not be read, kept to be looked at"
)

_account = _Part("Accounts")
CREDENTIAL_CHARS: Final = _account(
    "credential_chars", 256, "characters", Unauthenticated, "ours have under 100; the rest is not worth hashing"
)
LABEL_CHARS: Final = _account("label_chars", 200, "characters", Invalid, "the name of a person, a key or an invitation")
KEYS: Final = _account("keys", 1_000, "per tenant", TooMany, "keys of people and programs (devices have their own)")
KEY_DAYS: Final = _account("key_days", 731, "days", Invalid, "a key ends; whoever still needs it makes a new one")
KEY_SCOPES: Final = _account("key_scopes", 64, "scopes", Invalid, "every request of the key looks through them")
KEY_TYPES: Final = _account("key_types", 100, "types", Invalid, "types that a key is limited to, for each scope")
LINKS: Final = _account("links", 100, "per tenant", TooMany, "one-time links that wait to be used")
LINK_S: Final = _account(
    "link_s", 24 * 3_600, "s", Unauthenticated, "a one-time link that nobody used is a door left open"
)
SESSION_IDLE_S: Final = _account(
    "session_idle_s",
    12 * 3_600,
    "s",
    Unauthenticated,
    "without a request a browser's session ends; a shift has 12 hours",
)
SESSION_S: Final = _account("session_s", 7 * 86_400, "s", Unauthenticated, "with or without requests it ends then")
IDENTITIES: Final = _account(
    "identities",
    16_384,
    "credentials",
    "the first remembered is forgotten",
    "credentials known without asking the store",
)

_rate = _Part("Rates")
RATE_ADDRESS: Final = _rate(
    "rate_address",
    100,
    "requests/s",
    TooFast,
    "one address (IPv6: one /64) without a credential; many people may share it",
)
BURST_ADDRESS: Final = _rate("burst_address", 400, "requests", TooFast, "at once; a page and its map are many requests")
RATE_ACTOR: Final = _rate("rate_actor", 2_000, "requests/s", TooFast, "one person or key; more goes in batches")
BURST_ACTOR: Final = _rate("burst_actor", 10_000, "requests", TooFast, "at once")
RATE_DEVICE: Final = _rate(
    "rate_device", 10, "requests/s", TooFast, "one device; a faulty one must not drown the others"
)
BURST_DEVICE: Final = _rate(
    "burst_device", 200, "requests", TooFast, "at once; a device that was away sends what it kept"
)
RATE_NOTIFIED: Final = _rate(
    "rate_notified", 200, "requests/s", TooFast, "notifications of one subscription at a source; it sends them again"
)
BURST_NOTIFIED: Final = _rate("burst_notified", 1_000, "requests", TooFast, "at once")
RATE_ATTEMPTS: Final = _rate("rate_attempts", 10, "tries/min", TooFast, "credentials that were wrong, of one address")
BURST_ATTEMPTS: Final = _rate("burst_attempts", 20, "tries", TooFast, "at once")
RATES: Final = _rate(
    "rates", 65_536, "meters", "the one unused for longest is forgotten", "addresses and actors that are counted"
)

_house = _Part("The house")
CHANGES_WAITING: Final = _house(
    "changes_waiting", 65_536, "changes", Unavailable, "changes that wait for the writer; they are memory"
)

REGENERATE: Final = (
    "PYTHONPATH=src python -c \"from shahar.values.bounds import document; print(document(), end='')\" > docs/bounds.md"
)


def document() -> str:
    """The text of docs/bounds.md."""
    lines = [
        "# Bounds",
        "",
        "Everything that comes from outside has a bound, and whoever goes beyond it gets a sentence that names it.",
        "This page is made from `src/shahar/values/bounds.py`; a test fails when the two differ. To make it again:",
        "",
        f"    {REGENERATE}",
    ]
    for part in dict.fromkeys(bound.part for bound in BOUNDS.values()):
        lines += ["", f"## {part}", "", "| bound | value | why | beyond it |", "|---|---|---|---|"]
        lines += [_line(bound) for bound in BOUNDS.values() if bound.part == part]
    return "\n".join(lines) + "\n"


def quantity(bound: Bound) -> str:
    """The bound's value with its unit for people: 4 MiB, 12 h, 1 000 entities."""
    if bound.unit == "bytes":
        return f"{bound.value // MIB} MiB" if bound.value % MIB == 0 else f"{bound.value // KIB} KiB"
    if bound.unit == "s":
        for seconds, unit in ((86_400, "days"), (3_600, "h")):
            if bound.value > seconds and bound.value % seconds == 0:
                return f"{bound.value // seconds} {unit}"
    return f"{bound.value:_} {bound.unit}".replace("_", " ")


def _line(bound: Bound) -> str:
    beyond = bound.refused_as if isinstance(bound.refused_as, str) else f"`{bound.refused_as.__name__}`"
    return f"| `{bound.name}` | {quantity(bound)} | {bound.why} | {beyond} |"
