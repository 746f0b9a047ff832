"""The service that keeps entity maps: for their owners, bounded, and gone when they have ended."""

from __future__ import annotations

import asyncio

import pytest

from shahar.model.entity_map import EntityMap, Entry
from shahar.services import entity_maps
from shahar.services.entity_maps import EntityMaps, new_id
from shahar.values.errors import NotFound
from shahar.values.instants import SECOND

pytestmark = pytest.mark.anyio
AT = 1_800_000_000 * SECOND


def made(owner: str = "she", size: int = 1, tenant: str = "", lives_s: int = 10) -> EntityMap:
    """A map of so many entities."""
    one = EntityMap(new_id(), tenant, owner, "entities", None, None, AT + lives_s * SECOND)
    one.entries = {f"urn:a:{number}": Entry(("@none",), ("Car",)) for number in range(size)}
    return one


def test_a_map_is_there_for_its_owner_in_its_tenant_until_it_ends() -> None:
    maps, one = EntityMaps(), made()
    maps.keep(one)
    assert maps.get(one.id, "", "she", AT) is one
    for tenant, actor, at in (("", "he", AT), ("water", "she", AT), ("", "she", one.expires_at)):
        with pytest.raises(NotFound):
            maps.get(one.id, tenant, actor, at)
    maps.drop(one)
    assert maps.find(one.id, "", "she", AT) is None


def test_who_makes_many_loses_those_longest_unused_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_maps, "ENTITY_MAPS", 3)
    maps, other = EntityMaps(), made("he")
    maps.keep(other)
    mine = [made() for _ in range(3)]
    for one in mine:
        maps.keep(one)
    maps.find(mine[0].id, "", "she", AT)
    newest = made()
    maps.keep(newest)
    kept = [maps.find(one.id, "", one.owner, AT) is not None for one in (other, *mine, newest)]
    assert kept == [True, True, False, True, True]


def test_when_all_is_full_it_is_the_greediest_who_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_maps, "ENTITY_MAPS_ENTITIES", 130)
    maps = EntityMaps()
    small, first, second = made("he", 5), made("she", 40), made("she", 40)
    for one in (small, first, second, made("they", 30)):
        maps.keep(one)
    assert maps.find(first.id, "", "she", AT) is None
    assert maps.find(small.id, "", "he", AT) is small
    assert maps.find(second.id, "", "she", AT) is second


async def test_what_has_ended_leaves_the_memory_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_maps, "SWEEP_S", 0.01)
    now = [AT]
    maps = EntityMaps(lambda: now[0])
    maps.keep(made(lives_s=1))
    maps.keep(made(lives_s=100))
    await maps.start()
    await asyncio.sleep(0.05)
    assert len(maps) == 2
    now[0] += 2 * SECOND
    await asyncio.sleep(0.05)
    assert len(maps) == 1
    await maps.stop()
    await maps.stop()
