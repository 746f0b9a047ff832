"""A batch that another process read is what it would have been, had it been read here."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar.model import bulk
from shahar.model.context import CORE, Context, compile_context
from shahar.model.told import read_whole
from shahar.services.batches import answer
from shahar.values.errors import ShaharError
from tests.property.test_told import AT, ATTRIBUTES, SHELLS, WHOLE

FAR = "https://example.org/context.jsonld"
OURS = compile_context(
    [FAR, {"a": {"@id": "https://example.org/a", "@context": {"accuracy": "https://example.org/ofA"}}, "ident": "@id"}],
    {FAR: {"T": "https://example.org/T", "ex": "https://ex/"}},
)
MEMBERS = st.one_of(
    st.builds(lambda shell, attributes: {**attributes, **shell}, SHELLS | WHOLE, ATTRIBUTES), st.just(7)
)


def here(body: Any, context: Context) -> Any:
    """What comes of reading one member in this process."""
    try:
        return read_whole("upsert", body, context, AT)
    except ShaharError as problem:
        return bulk.name_of(body, context), type(problem), problem.detail, problem.field, problem.rule


def there(tried: bulk.Tried) -> Any:
    """The same of a member that was told."""
    if isinstance(tried, tuple):
        name, problem = tried
        return name, type(problem), problem.detail, problem.field, problem.rule
    return tried


@settings(max_examples=200, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=4), st.sampled_from([CORE, OURS]))
def test_what_is_read_beside_is_what_is_read_here(members: list[Any], context: Context) -> None:
    body = orjson.dumps(members)
    read = bulk.wishes(answer(bulk.question("upsert", body, context, AT)))
    assert isinstance(read, list)
    assert list(map(there, read)) == [here(member, context) for member in orjson.loads(body)]


def test_what_is_no_plain_list_of_entities_is_left_to_the_asker() -> None:
    many = orjson.dumps([{"id": "urn:a", "type": "T"}] * 10_000)
    inside = orjson.dumps([{"id": "urn:a", "type": "T", "@context": FAR}])
    for body in (b"", b"[", b"{}", b"[]", b"\xff", many, inside):
        assert bulk.wishes(answer(bulk.question("create", body, CORE, AT))) is None
