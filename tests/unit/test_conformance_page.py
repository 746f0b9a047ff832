"""The table of official cases: what a runner prints is read, failing cases are run again alone, the page is written."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from scripts import conformance
from scripts.conformance import Failure, Result, Runner
from tests.running import free_ports

FILES = [
    "TP/NGSI-LD/jsonldContext/Provision/AddContext/050_01.robot",
    "TP/NGSI-LD/ContextInformation/Provision/Entities/CreateEntity/001_01.robot",
    "TP/NGSI-LD/ContextInformation/Provision/Entities/DeleteEntity/002_01.robot",
    "TP/NGSI-LD/DistributedOperations/LoopDetection/D018_01.robot",
    "IOP_TP/NGSI-LD/Interoperability/Provision/CreateEntity/IOP_01.robot",
]
PRINTED = """\
   54 of    55  ContextInformation/Provision/Entities
FAIL 001_01.robot: 001_01_02 Create | one | HTTPError: 400 != 201
54 passed, 1 failed
"""


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (FILES[0], "jsonldContext/Provision/AddContext"),
        (FILES[1], "ContextInformation/Provision/Entities"),
        (FILES[3], "DistributedOperations/LoopDetection"),
        (FILES[4], "Interoperability/Provision/CreateEntity"),
    ],
)
def test_a_group_is_three_folders_deep(path: str, group: str) -> None:
    assert conformance.group_of(path) == group


def test_each_group_is_named_by_a_part_of_its_paths() -> None:
    found = conformance.matches_of(FILES)
    assert list(found) == [conformance.group_of(path) for path in (*FILES[:2], *FILES[3:])]
    assert found["ContextInformation/Provision/Entities"] == "TP/NGSI-LD/ContextInformation/Provision/Entities/"
    for path in FILES:
        assert path.startswith(found[conformance.group_of(path)])


def test_what_a_runner_prints_is_read() -> None:
    result = conformance.read("g", PRINTED)
    assert (result.passed, result.run) == (54, 55)
    assert result.failures == [Failure("001_01.robot", "001_01_02 Create", "one | HTTPError: 400 != 201")]


def test_the_page_names_each_case_that_did_not_pass_and_why() -> None:
    known, unknown = Failure("001_01.robot", "a", "x"), Failure("002_01.robot", "b|c", "400 != 201")
    results = [Result("g", 5, 7, [known, unknown]), Result("h", 1, 2, [], [Failure("003_01.robot", "d", "late")])]
    section = conformance.told(results, {"001_01": {"clause": "6.4", "why": "so it is"}}, "2026-11-22")
    assert "| g | 5 | 7 |" in section
    assert "| **all** | **6** | **9** |" in section
    assert "| 001_01 a | 6.4 | so it is |" in section
    assert "| 002_01 b\\|c |  | not looked into yet: 400 != 201 |" in section
    assert "- 003_01 d: not looked into yet: late" in section


def test_the_rest_of_the_page_stays() -> None:
    page = "# Top\n\n## Official cases\n\nold\n\n## Carried\n\nmuch\n"
    again = conformance.written(page, "## Official cases\n\nnew\n")
    assert again == "# Top\n\n## Official cases\n\nnew\n\n## Carried\n\nmuch\n"
    assert conformance.HEADING in conformance.PAGE.read_text("utf-8")
    conformance.read_whys()


RUNNER = """
import sys, urllib.request
at = sys.argv[sys.argv.index("--broker") + 1]
body = b'{"id": "urn:a:1", "type": "T"}'
asked = urllib.request.Request(at + "/ngsi-ld/v1/entities", body, {"Content-Type": "application/json"})
try:
    made = urllib.request.urlopen(asked).status == 201
except OSError:
    made = False
alone = sys.argv[sys.argv.index("--match") + 1].endswith(".robot")
print(f"{made + alone:5d} of {2:5d}  some/group")
if not alone:
    print("FAIL 001_01.robot: only alone | no")
print("FAIL 002_01.robot: never | 400 != 201")
"""


def test_each_run_meets_an_empty_store_and_what_fails_is_run_again_alone(tmp_path: Path) -> None:
    runner = Runner(shlex.join([sys.executable, "-c", RUNNER]), free_ports(1)[0], tmp_path / "log")
    match = "TP/NGSI-LD/ContextInformation/Provision/Entities/"
    result = runner.group("g", match, FILES)
    assert (result.passed, result.run) == (1, 2), "the entity was made, so the store was empty"
    assert [one.case for one in result.alone] == ["only alone"]
    assert [one.case for one in result.failures] == ["never"]
