"""The texts of questions and their trees; by clause of ETSI GS CIM 009 V1.9.1."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.query import (
    LOCATION,
    And,
    AnyOf,
    Compare,
    Exists,
    Linked,
    Node,
    Or,
    Path,
    Pattern,
    Range,
    ScopeIs,
    TypeIs,
    When,
    attributes,
    linked_depth,
    parse_geo,
    parse_id_pattern,
    parse_q,
    parse_scope,
    parse_types,
)
from shahar.values.errors import Invalid

CORE = {"observedAt", "createdAt", "modifiedAt", "unitCode"}


def expand(name: str) -> str:
    if ":" in name:
        return name
    return f"https://uri.etsi.org/ngsi-ld/{name}" if name in CORE else f"x:{name}"


def path(attr: str, *subs: str, keys: tuple[str, ...] = ()) -> Path:
    return Path(expand(attr), tuple(map(expand, subs)), keys)


DAY = 86_400_000_000
A, B, C = Exists(path("a")), Exists(path("b")), Exists(path("c"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("temperature", Exists(path("temperature"))),
        ("temperature==20", Compare(path("temperature"), "==", 20)),
        ("a!=-2.5e1", Compare(path("a"), "!=", -25.0)),
        ("a>=1", Compare(path("a"), ">=", 1)),
        ("a<=1", Compare(path("a"), "<=", 1)),
        ("a<1", Compare(path("a"), "<", 1)),
        ('a>"b"', Compare(path("a"), ">", "b")),
        ("a==true", Compare(path("a"), "==", True)),
        ('a=="tr\\u00fce;|,()"', Compare(path("a"), "==", "trüe;|,()")),
        ("a==urn:ngsi-ld:City:Pisa", Compare(path("a"), "==", "urn:ngsi-ld:City:Pisa")),
        ("a==http://example.org/../b?c=1", Compare(path("a"), "==", "http://example.org/../b?c=1")),
        ("gender==Male", Compare(path("gender"), "==", "Male")),
        ("a>1970-01-02T00:00:00Z", Compare(path("a"), ">", When("datetime", DAY))),
        ("a==1970-01-02", Compare(path("a"), "==", When("date", DAY))),
        ("a<12:00:00Z", Compare(path("a"), "<", When("time", DAY // 2))),
        ('a=="1970-01-02"', Compare(path("a"), "==", When("date", DAY, "1970-01-02"))),
        ("a==1..5", Compare(path("a"), "==", Range(1, 5))),
        ("a!=-1.5..2", Compare(path("a"), "!=", Range(-1.5, 2))),
        ('a=="b".."c"', Compare(path("a"), "==", Range("b", "c"))),
        ("a==1970-01-01..1970-01-02", Compare(path("a"), "==", Range(When("date", 0), When("date", DAY)))),
        ('a=="1970-01-02".."c"', Compare(path("a"), "==", Range("1970-01-02", "c"))),
        ('a=="b", "c",3,true', Compare(path("a"), "==", AnyOf(("b", "c", 3, True)))),
        ("a!=urn:a,urn:b", Compare(path("a"), "!=", AnyOf(("urn:a", "urn:b")))),
        ('a~="^E.*l|x"', Compare(path("a"), "~=", Pattern("^E.*l|x"))),
        ('a~="\\\\d"', Compare(path("a"), "~=", Pattern(r"\d"))),
        ('a~="\\d"', Compare(path("a"), "~=", Pattern(r"\d"))),
        ("a!~=^(b|c)[);|]d;c", And((Compare(path("a"), "!~=", Pattern("^(b|c)[);|]d")), C))),
        ("(a~=b c)", Compare(path("a"), "~=", Pattern("b c"))),
        ("a.observedAt>1", Compare(path("a", "observedAt"), ">", 1)),
        ("a.b.c==1", Compare(path("a", "b", "c"), "==", 1)),
        ('address[city]=="Berlin"', Compare(path("address", keys=("city",)), "==", "Berlin")),
        ("s.raw[air.pm]==4", Compare(path("s", "raw", keys=("air", "pm")), "==", 4)),
        ("color[*]!=1", Compare(path("color", keys=("*",)), "!=", 1)),
        ("color[uz-Cyrl]", Exists(path("color", keys=("uz-Cyrl",)))),
        ("pre:fix", Exists(path("pre:fix"))),
        ("ҳарорат>1", Compare(path("ҳарорат"), ">", 1)),
        ("s{h}==4", Linked("x:s", (), Compare(path("h"), "==", 4))),
        ("s{Device,Sensor:h}", Linked("x:s", ("x:Device", "x:Sensor"), Exists(path("h")))),
        ("s{T:o{h.b}}==4", Linked("x:s", ("x:T",), Linked("x:o", (), Compare(path("h", "b"), "==", 4)))),
        ("a;b|c", Or((And((A, B)), C))),
        ("a;(b|c)", And((A, Or((B, C))))),
        ("((a|b);c)", And((Or((A, B)), C))),
        (" ( a ) ; b == 1 ", And((A, Compare(path("b"), "==", 1)))),
        ("a;b;c", And((A, B, C))),
    ],
)
def test_q_is_read_into_its_tree(text: str, expected: Node) -> None:
    found = parse_q(text, expand)
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and true are equal to Python, not to us


def test_a_number_beyond_64_bits_is_a_float() -> None:
    assert repr(parse_q("a==9223372036854775808", expand)) == repr(Compare(path("a"), "==", 9223372036854775808.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "speed>",
        "==1",
        "a=1",
        "a==",
        'a=="b',
        'a=="\\x"',
        "a>1..2",
        "a>1,2",
        "a>true",
        "a>urn:b",
        "a==1..b",
        "a==1..",
        'a==1.."b"',
        'a=="b"..2',
        "a==1..2,3",
        "a==3,1..2",
        "a==1970-01-01..2",
        "a==1970-01-01..12:00:00Z",
        "a==2020-13-01",
        "a==1e999",
        "a==01",
        "a==+1",
        "a~=",
        "a~=[",
        'a~="(b"',
        "a b",
        "a;;b",
        "a;",
        "|a",
        "()",
        "(a",
        "a)",
        "1a",
        "_a",
        "a.",
        "a[",
        "a[]",
        "a[b",
        "a[b][c]",
        "a{b",
        "a{}",
        "a{b}c",
        "a.b{c}",
        "a\x00",
        'a=="\\u0000"',
        'a=="\\ud800"',
        "a" * 4097,
        ";".join("a" * 65),
        "(" * 17 + "a" + ")" * 17,
        "a{" * 17 + "a" + "}" * 17,
        "((((((((((((a{a{a{a{a{a}}}}}))))))))))))",
    ],
)
def test_what_is_no_q_is_refused_with_a_rule(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_q(text, expand)
    assert refused.value.field == "q"
    assert refused.value.rule


def test_the_bounds_themselves_are_within() -> None:
    parse_q(";".join("a" * 64), expand)
    parse_q("(" * 16 + "a" + ")" * 16, expand)
    parse_q("a{" * 16 + "a" + "}" * 16, expand)
    parse_q('a=="' + "b" * 4091 + '"', expand)


def test_a_q_that_is_no_text_is_refused() -> None:
    value: Any = 42
    with pytest.raises(Invalid):
        parse_q(value, expand)


def test_the_field_that_is_named_is_the_one_that_was_read() -> None:
    with pytest.raises(Invalid) as refused:
        parse_q("))bad((", expand, field="csf")
    assert refused.value.field == "csf"


def test_the_error_tells_the_place() -> None:
    with pytest.raises(Invalid, match=r"character 5 stands '1\.\.2'"):
        parse_q("a;b>1..2", expand)


def test_values_are_expanded_for_the_attributes_that_are_named_only() -> None:
    tree = parse_q('a==M;b=="M",2;c==M', expand, expand_values=["a", "b"])
    assert tree == And(
        (
            Compare(path("a"), "==", "M", "x:M"),
            Compare(path("b"), "==", AnyOf(("M", 2)), AnyOf(("x:M", 2))),
            Compare(path("c"), "==", "M"),
        )
    )


def test_a_tree_knows_its_attributes_and_how_far_it_follows() -> None:
    tree = parse_q("a.b==1;(c|createdAt>2)|r{s{t}}", expand)
    assert attributes(tree) == {"x:a", "x:c", "https://uri.etsi.org/ngsi-ld/createdAt", "x:r"}
    assert linked_depth(tree) == 2
    assert linked_depth(parse_q("a", expand)) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", TypeIs("x:A")),
        ("A,B", Or((TypeIs("x:A"), TypeIs("x:B")))),
        ("A|B", Or((TypeIs("x:A"), TypeIs("x:B")))),
        ("(A;B)", And((TypeIs("x:A"), TypeIs("x:B")))),
        ("(A;B),C", Or((And((TypeIs("x:A"), TypeIs("x:B"))), TypeIs("x:C")))),
        ("A;B|C", Or((And((TypeIs("x:A"), TypeIs("x:B"))), TypeIs("x:C")))),
        ("https://x.org/y#Building", TypeIs("https://x.org/y#Building")),
        ("pre:A", TypeIs("pre:A")),
        ("*", None),
    ],
)
def test_a_type_selection_is_read_into_its_tree(text: str, expected: Node | None) -> None:
    assert parse_types(text, expand) == expected


@pytest.mark.parametrize(
    "text", ["", "A;", "A,,B", "(A", "A)", "A B", "<A>", "1A", "()", "A;*", "^A", ",".join("A" * 65)]
)
def test_what_is_no_type_selection_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_types(text, expand)
    assert refused.value.field == "type"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/Madrid", ScopeIs(("Madrid",))),
        ("Madrid", ScopeIs(("Madrid",))),
        ("/Madrid/Gardens/#", ScopeIs(("Madrid", "Gardens"), below=True)),
        ("/Madrid/+/Park", ScopeIs(("Madrid", "+", "Park"))),
        ("/#", ScopeIs((), below=True)),
        ("/+", ScopeIs(("+",))),
        ("(/A/B;/C)|D", Or((And((ScopeIs(("A", "B")), ScopeIs(("C",)))), ScopeIs(("D",))))),
        ("/A;/B", And((ScopeIs(("A",)), ScopeIs(("B",))))),
        ("/A,/B", Or((ScopeIs(("A",)), ScopeIs(("B",))))),
    ],
)
def test_a_scope_query_is_read_into_its_tree(text: str, expected: Node) -> None:
    assert parse_scope(text) == expected


@pytest.mark.parametrize(
    "text", ["", "/", "#", "//A", "/A//B", "/A/", "/A/#/B", "/A#", "/A+", "/1", "/A B", "/A;", "(/A"]
)
def test_what_is_no_scope_query_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_scope(text)
    assert refused.value.field == "scopeQ"


RING = "[[[0,0],[10,0],[10,10],[0,10],[0,0]]]"


def test_a_near_query_has_metres_a_shape_and_a_box() -> None:
    geo = parse_geo("near;maxDistance==2000", "Point", "[8, 40]")
    assert (geo.rel, geo.attr, geo.min_m, geo.max_m) == ("near", LOCATION, None, 2000.0)
    assert (geo.shape.x, geo.shape.y) == (8.0, 40.0)
    assert geo.box is not None
    assert geo.box[0] < 8 < geo.box[2]
    assert geo.box[1] < 40 < geo.box[3]


def test_coordinates_may_be_read_already_and_the_property_another() -> None:
    geo = parse_geo("within", "Polygon", [[[0, 0], [1, 0], [1, 1], [0, 0]]], "x:place")
    assert (geo.attr, geo.box) == ("x:place", (0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize("georel", ["disjoint", "near;minDistance==5"])
def test_what_lies_outside_has_no_box(georel: str) -> None:
    assert parse_geo(georel, "Polygon", RING).box is None


def test_a_polygon_that_crosses_itself_is_accepted() -> None:
    parse_geo("within", "Polygon", "[[[0,0],[1,1],[1,0],[0,1],[0,0]]]")


@pytest.mark.parametrize(
    ("georel", "geometry", "coordinates", "field"),
    [
        (None, "Point", "[1,2]", "georel"),
        ("", "Point", "[1,2]", "georel"),
        ("touches", "Point", "[1,2]", "georel"),
        ("near", "Point", "[1,2]", "georel"),
        ("near;maxDistance==0", "Point", "[1,2]", "georel"),
        ("near;maxDistance==-1", "Point", "[1,2]", "georel"),
        ("near;maxDistance==1e999", "Point", "[1,2]", "georel"),
        ("near;maxDistance==inf", "Point", "[1,2]", "georel"),
        ("near;maxDistance==1;minDistance==1", "Point", "[1,2]", "georel"),
        ("near;maxDistance=1", "Point", "[1,2]", "georel"),
        ("within", None, "[1,2]", "geometry"),
        ("within", "GeometryCollection", "[1,2]", "geometry"),
        ("within", ["Point"], "[1,2]", "geometry"),
        ("within", "Point", None, "coordinates"),
        ("within", "Point", "[1,2", "coordinates"),
        ("within", "Point", "[200,2]", "coordinates"),
        ("within", "Point", "[NaN,2]", "coordinates"),
        ("within", "Point", "[" * 100_000, "coordinates"),
        ("within", "Point", "[" * 1_000_001, "coordinates"),
        ("within", "Polygon", "[[[0,0],[1,1],[1,0]]]", "coordinates"),
    ],
)
def test_a_bad_geo_query_names_its_field(georel: object, geometry: object, coordinates: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_geo(georel, geometry, coordinates)
    assert refused.value.field == field


@pytest.mark.parametrize("text", ["invalid_entity_id_pattern**", "", "a" * 257, "[", "\x00", "\ud800"])
def test_a_bad_id_pattern_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_id_pattern(text)
    assert refused.value.field == "idPattern"


def test_an_id_pattern_is_found_anywhere() -> None:
    assert parse_id_pattern("Building:.*7$").matches("urn:ngsi-ld:Building:17")
