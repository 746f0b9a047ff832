"""The map of ARCHITECTURE.md names every room of the floors, and no room that is not there."""

from __future__ import annotations

from tests.house import reading, rules

FLOORS = ("values", "model", "store", "services", "ports", "web", "top")


def rooms_there() -> set[str]:
    """Each room of the floors, as `model.entity`; a folder is one room, written `model.query/`."""
    found = set()
    for source in reading.package_sources():
        floor, _, rest = source.room.partition(".")
        room, _, inner = rest.partition(".")
        if source.room in rules.TOP and source.room != "__main__":
            floor, room = "top", source.room
        if floor in FLOORS and room:
            found.add(f"{floor}.{room}" + ("/" if inner or source.is_folder else ""))
    return found


def rooms_named(page: str) -> list[str]:
    """Those in the last column of the rows about floors, several of which are about one floor."""
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].strip("`") in FLOORS:
            found += [f"{cells[0].strip('`')}.{room.strip()}" for room in cells[2].split(",")]
    return found


def test_every_room_stands_once_on_the_map() -> None:
    named = rooms_named((reading.ROOT / "ARCHITECTURE.md").read_text())
    assert sorted(named) == sorted(rooms_there())


def test_a_room_that_is_not_on_the_map_is_seen() -> None:
    page = "| floor | what for | rooms |\n| `model` | x | entity, query/ |\n| 1 `model` | y | values | never |"
    assert rooms_named(page) == ["model.entity", "model.query/"]
