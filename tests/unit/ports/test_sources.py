"""Who is left alone, and what a call to a source looks like on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shahar.model.context import CORE, compile_context
from shahar.model.registration import Registration, Share
from shahar.model.registration.forms import Management
from shahar.ports.sources import AT_ONCE, Sources, binding
from shahar.ports.sources.fence import FIRST_REST_S, LONGEST_REST_S, TRIES, Fence
from shahar.services.federation.calls import Call, Origin, Terms
from shahar.values.errors import Conflict, Exists, Invalid, NotFound, PeerFailed, PeerLooped, PeerSilent, ShaharError

KEY = ("", "urn:r:1")
D = "https://uri.etsi.org/ngsi-ld/default-context/"


def call(operation: str, share: Share | None = None, **more: Any) -> Call:
    """A call in the core's terms."""
    registration = Registration("urn:r:1", "http://there:1026", ())
    origin = Origin("ours", CORE, 0, "", {"authorization": "Bearer secret", "cookie": "s=1", "x-user": "nodira"})
    made = Call(operation, share or Share(registration), Terms(CORE), "shahar-here", origin, 5.0)
    return replace(made, **more)


def registered(**more: Any) -> Share:
    """A share of everything of a registration."""
    return Share(Registration("urn:r:1", **({"endpoint": "http://there:1026", "information": ()} | more)))


def failed(fence: Fence, times: int, now_s: float = 0.0, cooldown_s: float = 0.0) -> None:
    """Let the registration fail some times."""
    for _ in range(times):
        fence.failed(KEY, now_s, cooldown_s)


def test_a_registration_that_fails_again_and_again_rests_and_one_call_tries_again() -> None:
    fence = Fence()
    failed(fence, TRIES - 1)
    assert fence.admits(KEY, 0.0)
    failed(fence, 1)
    assert not fence.admits(KEY, FIRST_REST_S / 2)
    assert fence.admits(KEY, FIRST_REST_S)
    assert not fence.admits(KEY, FIRST_REST_S)  # one alone tries
    fence.worked(KEY)
    assert fence.admits(KEY, FIRST_REST_S)


def test_rests_double_and_end_growing() -> None:
    fence = Fence()
    failed(fence, TRIES + 20)
    assert not fence.admits(KEY, LONGEST_REST_S - 1)
    assert fence.admits(KEY, LONGEST_REST_S)


def test_a_cooldown_of_its_own_begins_with_the_first_failure() -> None:
    fence = Fence()
    failed(fence, 1, cooldown_s=30.0)
    assert not fence.admits(KEY, 29.0)
    assert fence.admits(KEY, 30.0)


def test_who_left_while_trying_lets_another_try() -> None:
    fence = Fence()
    failed(fence, TRIES)
    assert fence.admits(KEY, FIRST_REST_S)
    fence.left(KEY)
    assert fence.admits(KEY, FIRST_REST_S)


def test_nothing_of_the_caller_goes_out_unless_it_is_asked_for_and_credentials_not_even_then() -> None:
    bare = dict(binding.form(call("retrieveEntity", entity_id="urn:x:1")).headers)
    assert bare == {"Accept": "application/json", "Via": "1.1 shahar-here"}
    asked = registered(
        info=(
            ("X-User", "urn:ngsi-ld:request"), ("Authorization", "urn:ngsi-ld:request"),
            ("Cookie", "urn:ngsi-ld:request"), ("X-Missing", "urn:ngsi-ld:request"), ("Content-Length", "7"),
        )
    )  # fmt: skip
    assert dict(binding.form(call("retrieveEntity", asked, entity_id="urn:x:1")).headers) == bare | {"X-User": "nodira"}
    own = registered(info=(("Authorization", "Bearer of the source"),))
    assert ("Authorization", "Bearer of the source") in binding.form(call("retrieveEntity", own)).headers


def test_the_tenant_that_is_named_is_the_sources_and_never_ours() -> None:
    form = binding.form(call("queryEntity", registered(tenant="theirs")))
    assert dict(form.headers)["NGSILD-Tenant"] == "theirs"
    assert "ours" not in form.url + json.dumps(form.headers)
    assert "NGSILD-Tenant" not in dict(binding.form(call("queryEntity")).headers)


@pytest.mark.parametrize("endpoint", ["http://t:1", "http://t:1/", "http://t:1/ngsi-ld/v1", "http://t:1/ngsi-ld/v1/"])
def test_an_endpoint_tells_the_root_of_the_api_or_not(endpoint: str) -> None:
    assert binding.form(call("createEntity", registered(endpoint=endpoint))).url == "http://t:1/ngsi-ld/v1/entities"


def test_a_question_names_what_the_source_offers_and_no_more() -> None:
    share = replace(registered(), ids=("urn:x:1",), types=(D + "T",), attrs=frozenset({D + "b", D + "a"}))
    form = binding.form(call("queryEntity", share, limit=100))
    assert form.url.partition("?")[2] == "type=T&id=urn:x:1&attrs=a,b&limit=100"
    posted = binding.form(call("queryBatch", share))
    assert json.loads(posted.body or b"") == {
        "type": "Query", "entities": [{"type": "T", "id": "urn:x:1"}], "attrs": ["a", "b"],
    }  # fmt: skip


def test_the_types_of_an_entity_unknown_here_are_left_to_the_source_to_check() -> None:
    share = replace(registered(), types=(D + "T",))
    assert binding.form(call("deleteEntity", share, entity_id="urn:x:1", unsure=True)).url.endswith("?type=T")
    assert binding.form(call("deleteEntity", share, entity_id="urn:x:1")).url.endswith("/entities/urn:x:1")


def test_a_source_that_is_to_act_alone_is_told_so() -> None:
    share = registered(management=Management(local_only=True))
    assert binding.form(call("retrieveEntity", share, entity_id="urn:x:1")).url.endswith("?local=true")


def test_an_id_cannot_lead_to_another_address() -> None:
    form = binding.form(call("deleteEntity", entity_id="urn:x:../../subscriptions?x#y"))
    assert form.url == "http://there:1026/ngsi-ld/v1/entities/urn:x:..%2F..%2Fsubscriptions%3Fx%23y"


def test_a_context_without_an_address_stands_in_the_body_and_names_outside_are_whole() -> None:
    source = {"speed": "https://v/speed"}
    context = compile_context(source, {})
    terms = Terms(context, inline=source)
    origin = Origin("", context, 0)
    made = call(
        "updateAttrs", terms=terms, origin=origin, entity_id="urn:x:1", attr="https://v/speed", document={"a": 1}
    )
    form = binding.form(made)
    assert form.url.endswith("/attrs/https:%2F%2Fv%2Fspeed")
    assert json.loads(form.body or b"") == {"a": 1, "@context": source}
    assert dict(form.headers)["Content-Type"] == "application/ld+json"


def test_names_of_a_context_with_scopes_are_written_whole_in_bodies() -> None:
    scope = {"speed": "https://v/carSpeed", "colour": {"@id": "https://v/colour", "@context": {"red": "https://v/red"}}}
    source = {"Car": {"@id": "https://v/Car", "@context": scope}, "colour": scope["colour"], "ident": "@id"}
    context = compile_context(source, {})
    about: dict[str, Any] = {"terms": Terms(context, "http://c/one"), "origin": Origin("", context, 0)}
    colour = {"type": "VocabProperty", "vocab": "red"}
    told = {"ident": "urn:x:1", "type": "Car", "speed": {"value": 1}, "colour": colour, "own": 2}
    form = binding.form(call("createEntity", **about, document=told))
    assert json.loads(form.body or b"") == {
        "id": "urn:x:1",
        "type": "https://v/Car",
        "https://v/carSpeed": {"value": 1},
        "https://v/colour": {"type": "VocabProperty", "vocab": "https://v/red"},
        D + "own": 2,
    }
    assert "http://c/one" in dict(form.headers)["Link"]
    part = binding.form(
        call("updateAttrs", **about, attr="https://v/colour", document={"vocab": "red", "by": {"value": 1}})
    )
    assert json.loads(part.body or b"") == {"vocab": "https://v/red", D + "by": {"value": 1}}


def test_a_context_with_an_address_goes_by_link_unless_the_source_wants_it_inside() -> None:
    linked = Terms(CORE, "http://c/one.jsonld")
    form = binding.form(call("createEntity", terms=linked, document={"id": "urn:x:1"}))
    assert 'rel="http://www.w3.org/ns/json-ld#context"' in dict(form.headers)["Link"]
    assert dict(form.headers)["Content-Type"] == "application/json"
    inside = registered(info=(("contentType", "application/ld+json"),))
    form = binding.form(call("createEntity", inside, terms=linked, document={"id": "urn:x:1"}))
    assert json.loads(form.body or b"")["@context"] == "http://c/one.jsonld"
    assert "Link" not in dict(form.headers)


def test_the_passed_sources_are_handed_on_with_ours_at_the_end() -> None:
    passed = call("queryEntity", origin=Origin("", CORE, 0, "1.1 first"))
    assert dict(binding.form(passed).headers)["Via"] == "1.1 first, 1.1 shahar-here"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (404, NotFound), (409, Conflict), (500, PeerFailed), (401, PeerFailed), (403, PeerFailed),
     (504, PeerSilent), (508, PeerLooped), (302, PeerFailed)],
)  # fmt: skip
def test_a_refusal_says_whose_fault_it_is(status: int, kind: type[ShaharError]) -> None:
    with pytest.raises(kind) as told:
        binding.reply(call("mergeEntity"), status, {}, b'{"title": "no", "detail": "because"}')
    assert type(told.value) is kind
    assert "no: because" in told.value.detail


def test_an_entity_that_a_source_has_already_exists() -> None:
    with pytest.raises(Exists):
        binding.reply(call("createEntity"), 409, {}, b"")


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[", b"{"])
def test_an_answer_that_is_not_json_is_none(body: bytes) -> None:
    with pytest.raises(PeerFailed):
        binding.reply(call("queryEntity"), 200, {}, body)
    assert binding.reply(call("deleteEntity"), 204, {}, body).kind == "done"


class Counting:
    """A door that counts how many requests stand in it at once."""

    def __init__(self) -> None:
        self.inside, self.most = 0, 0

    async def ask(
        self, _method: str, _url: str, _headers: Sequence[tuple[str, str]], _body: bytes | None, _max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer after a moment."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.01)
        self.inside -= 1
        return 204, {}, b""


@pytest.mark.anyio
async def test_a_host_is_asked_so_many_times_at_once_and_another_has_places_of_its_own() -> None:
    door = Counting()
    sources = Sources(door)
    one, other = registered(), registered(endpoint="http://elsewhere")
    await asyncio.gather(*(sources.send(call("deleteEntity", one)) for _ in range(3 * AT_ONCE)))
    assert door.most == AT_ONCE
    await asyncio.gather(*(sources.send(call("deleteEntity", which)) for which in (one, other) for _ in range(AT_ONCE)))
    assert door.most == 2 * AT_ONCE


@pytest.mark.anyio
async def test_who_waits_for_a_place_beyond_the_time_gets_silence() -> None:
    sources = Sources(Counting())
    asked = (sources.send(call("deleteEntity", timeout_s=0.02)) for _ in range(6 * AT_ONCE))
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in results if isinstance(one, BaseException)} == {PeerSilent}


def test_a_past_is_asked_for_in_large_parts_unless_the_registration_says_otherwise() -> None:
    for operation in ("retrieveTemporal", "queryTemporal"):
        told = dict(binding.form(call(operation, entity_id="urn:c:1")).headers)
        assert told["Prefer"] == f"maxpagesize={binding.PART}"
    assert "Prefer" not in dict(binding.form(call("queryEntity")).headers)
    own = registered(info=(("prefer", "ngsi-ld=1.3"),))
    assert [value for key, value in binding.form(call("queryTemporal", own)).headers if key.lower() == "prefer"] == [
        "ngsi-ld=1.3"
    ]


def test_an_entity_map_of_the_source_goes_along_and_nobody_else_s() -> None:
    assert dict(binding.form(call("queryEntity", entity_map="urn:m:1")).headers)["NGSILD-EntityMap"] == "urn:m:1"
    asked = call("queryEntity", registered(info=(("NGSILD-EntityMap", "urn:ngsi-ld:request"),)))
    asked = replace(asked, origin=replace(asked.origin, headers={"ngsild-entitymap": "urn:ours:1"}))
    assert "NGSILD-EntityMap" not in dict(binding.form(asked).headers)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("date-time 2026-01-01T00:00:00Z-2026-01-02T00:00:00.5Z/*", 86_400_500_000),
        ("DateTime 2026-01-01T00:00:00Z-2026-01-02T00:00:00Z/10", 86_400_000_000),
        ("bytes 0-1/2", None),
        ("date-time soon-later/*", None),
        ("date-time 2026-13-01T00:00:00Z-2026-01-02T00:00:00Z/*", None),
        ("", None),
    ],
)
def test_how_far_a_part_of_a_past_goes_is_read_or_not_known(told: str, found: int | None) -> None:
    reach = binding.reply(call("retrieveTemporal"), 206, {"content-range": told}, b"{}").reach
    assert (None if reach is None else reach[1] - reach[0]) == found


@pytest.mark.parametrize("told", ["urn:m:1", "/ngsi-ld/v1/entityMaps/urn:m:1"])
def test_which_entity_map_a_source_used_is_kept_as_it_was_told(told: str) -> None:
    assert binding.reply(call("queryEntity"), 200, {"ngsild-entitymap": told}, b"[]").entity_map == told


@pytest.mark.parametrize("told", ["two words", "x" * 2_000, "\x7f", "\u00e9"])
def test_nonsense_in_the_place_of_an_entity_map_is_passed_over(told: str) -> None:
    assert binding.reply(call("queryEntity"), 200, {"ngsild-entitymap": told}, b"[]").entity_map == ""
