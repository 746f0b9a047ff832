"""Results as JSON, and from them the tables of docs/speed.md: what stands between its marks is written anew, the rest
is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.figures import rounded
from bench.machine import sentence

BEGIN: Final = "<!-- begin {name}: written by `make bench` -->"
END: Final = "<!-- end {name} -->"


def shortened(value: Any) -> Any:
    """The same document with every fraction rounded to what can be honestly said."""
    if isinstance(value, dict):
        return {key: shortened(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shortened(member) for member in value]
    return rounded(value) if isinstance(value, float) else value


def reading(goal: dict[str, Any]) -> str:
    """A goal's reading as a line."""
    word = "reached" if goal["met"] else "MISSED"
    where = "" if goal["applies"] else ", not this machine's rule"
    return f"{goal['goal']}: {goal['measured']:g} (goal {goal['bound']}): {word}{where}"


def write(results: Path, page: Path) -> None:
    """Put the tables of every result that is there between their marks in the page."""
    text = page.read_text()
    for name, table in TABLES.items():
        file = results / f"{name}.json"
        if file.exists():
            text = replaced(text, name, table(json.loads(file.read_text())))
    page.write_text(text)


def replaced(text: str, name: str, table: str) -> str:
    """The text with what stands between a name's marks replaced; unchanged when it has no such marks."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}" if found and ended else text


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)])


def number(value: float, digits: int = 3) -> str:
    """A number with few digits and thousands apart."""
    short = rounded(value, digits)
    return f"{short:,.0f}".replace(",", " ") if abs(short) >= 100 else f"{short:g}"


def spread(rounds: Sequence[dict[str, float]], name: str) -> str:
    """The least and the greatest value of the rounds."""
    values = [one[name] for one in rounds]
    return f"{number(min(values))} - {number(max(values))}"


def _foot(result: dict[str, Any]) -> str:
    goals = "\n".join(f"- {reading(goal)}" for goal in result["goals"])
    busy = (
        f"{result['cores_busy']:.1f} of {result['machine']['cores']} cores were busy on the average, whoever used them"
    )
    told = f"Measured on {result['measured_on']}. {sentence(result['machine'])} {busy}."
    return f"\n{goals}\n\n{told}" if goals else f"\n{told}"


def _updates(result: dict[str, Any]) -> str:
    middle, rounds = result["median"], result["rounds"]
    lines = [
        ("updates a second", "per_s", "raw_per_s"),
        ("processor time an update, us", "us", "raw_us"),
        ("p50, ms", "p50_ms", ""),
        ("p99, ms", "p99_ms", ""),
        ("longest, ms", "worst_ms", ""),
        ("of the raw rate", "of_raw", ""),
        ("times the raw processor time", "times_raw_us", ""),
        ("p99 in clients / throughput", "p99_of_fair_share", ""),
    ]
    body = [
        [text, number(middle[key]), spread(rounds, key), number(middle[raw]) if raw else ""] for text, key, raw in lines
    ]
    head = [f"{result['entities']} entities, {result['clients']} clients", "Shahar, median", "rounds", "raw write"]
    return rows(head, body) + "\n" + _foot(result)


def _batches(result: dict[str, Any]) -> str:
    middle, rounds = result["median"], result["rounds"]
    body = []
    for kind in ("create", "replace"):
        body.append(
            [
                f"{kind}: entities a second",
                number(middle[f"{kind}_per_s"]),
                spread(rounds, f"{kind}_per_s"),
                number(middle[f"{kind}_raw_per_s"]),
            ]
        )
        body.append(
            [
                f"{kind}: processor time an entity, us",
                number(middle[f"{kind}_us"]),
                spread(rounds, f"{kind}_us"),
                number(middle[f"{kind}_raw_us"]),
            ]
        )
        body.append(
            [f"{kind}: of the raw rate", number(middle[f"{kind}_of_raw"]), spread(rounds, f"{kind}_of_raw"), ""]
        )
    body.append(
        [
            "create, one client alone: entities a second",
            number(middle["create_alone_per_s"]),
            spread(rounds, "create_alone_per_s"),
            "",
        ]
    )
    return (
        rows(
            [f"batches of {result['size']}, {result['clients']} clients", "Shahar, median", "rounds", "raw write"], body
        )
        + "\n"
        + _foot(result)
    )


_QUESTIONS: Final = {
    "by_id": "by id",
    "filter_equal": "type and q on an indexed number, equality",
    "filter_range_100": "type and q on an indexed number, range of 100",
    "page_100": "page of 100 of a type",
    "near_1_km": "near 1 km, first 100",
}


def _questions(result: dict[str, Any]) -> str:
    body = [
        [
            text,
            *(
                number(result["questions"][name][key])
                for key in ("p50_ms", "p99_ms", "us", "bytes", "per_s_8", "p99_ms_8")
            ),
        ]
        for name, text in _QUESTIONS.items()
    ]
    head = [
        f"{number(result['entities'])} entities",
        "p50, ms",
        "p99, ms",
        "processor, us",
        "bytes",
        "8 clients, a second",
        "their p99, ms",
    ]
    loaded = f"Loaded through batch upserts at {number(result['loaded_per_s'])} entities a second."
    made = f"The index was there {result['index_s']:.1f} s after the first question that wanted it."
    return rows(head, body) + f"\n\n{loaded} {made}\n" + _foot(result)


def _start(result: dict[str, Any]) -> str:
    lines = {
        "first_ms": "first start to first answer, ms",
        "first_cpu_ms": "processor time of it, ms",
        "again_ms": "later start to first answer, ms",
        "resident_mb": "resident memory, idle, MB",
    }
    body = [[text, number(result["median"][key]), spread(result["rounds"], key)] for key, text in lines.items()]
    return rows(["start", "median", "rounds"], body) + "\n" + _foot(result)


def _notices(result: dict[str, Any]) -> str:
    lines = (
        ("updates sent", "updates"),
        ("answered a second", "answered_per_s"),
        ("refused", "refused"),
        ("answer p99, ms", "write_p99_ms"),
        ("notifications due to the living", "due_to_the_living"),
        ("of them missing", "missing"),
        ("to healthy endpoints, p50, s", "healthy_p50_s"),
        ("to healthy endpoints, p99, s", "healthy_p99_s"),
        ("to slow endpoints, p99, s", "slow_p99_s"),
        ("drained after the last answer, healthy, s", "drain_healthy_s"),
        ("drained, all, s", "drain_s"),
        ("processor time of the server, s", "server_cpu_with_drain_s"),
    )
    steady, burst = result["steady"], result["burst"]
    ends = result["endpoints"]
    head = (
        f"{number(result['subscriptions'])} subscriptions, {ends['all']} endpoints",
        f"{number(steady['rate'])} updates a second",
        f"{number(burst['rate'])} a second",
    )
    body = [(name, number(float(steady[key])), number(float(burst[key]))) for name, key in lines]
    told = f"{ends['slow']} endpoints answer after {ends['slow_s']:g} s, {ends['dead']} not at all. "
    told += f"Memory at the end: {number(result['resident_mb'])} MB."
    return f"{rows(head, body)}\n\n{told}\n{_foot(result)}"


def _history(result: dict[str, Any]) -> str:
    lines = (
        ("one series, one day, ms", "series_day_ms"),
        ("one series, a year by day (mean, least, greatest), ms", "series_year_by_day_ms"),
        ("a month by hour over 1 000 series together, s", "month_by_hour_s"),
        ("a month by hour of each of 1 000 series, s", "month_by_series_and_hour_s"),
        ("the same, handed out as 720 000 rows of Python, s", "handed_out_as_rows_s"),
    )
    asked = rows(("question", "median"), [(name, number(float(result[key]))) for name, key in lines])
    head = ("real series", "samples", "bytes each, told live", "told at once")
    sizes = [
        (name, number(one["samples"]), number(one["live"]), number(one["at_once"]))
        for name, one in result["real"].items()
    ]
    told = f"{number(result['samples'])} synthetic samples, made straight as files"
    told += f" ({number(result['bytes_a_sample'])} bytes each)."
    return f"{asked}\n\n{told}\n\n{rows(head, sizes)}\n{_foot(result)}"


def _shared(result: dict[str, Any]) -> str:
    lines = (
        ("updates a second", "per_s", "bare_per_s"),
        ("of the bare connection", "of_bare", ""),
        ("p50, ms", "p50_ms", ""),
        ("p99, ms", "p99_ms", ""),
        ("processor time of the workers an update, us", "workers_us", ""),
    )
    middle = result["median"]
    name = f"{result['workers']} workers, {result['clients']} clients"
    head = (name, "Shahar, median", "rounds", "bare connection")
    body = [
        (name, number(middle[key]), spread(result["rounds"], key), number(middle[bare]) if bare else "")
        for name, key, bare in lines
    ]
    return f"{rows(head, body)}\n{_foot(result)}"


TABLES: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "updates": _updates,
    "slow_disk": _updates,
    "cold": _updates,
    "batches": _batches,
    "questions": _questions,
    "start": _start,
    "notices": _notices,
    "history": _history,
    "shared": _shared,
}
