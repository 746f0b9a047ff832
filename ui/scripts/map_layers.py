"""Draw the map layers of the operations centre out of a folder of public geography.

For: `src/shahar/web/static/map/*.geojson`; run by a person when the geography changes, never by a build:
`python ui/scripts/map_layers.py FOLDER`, where FOLDER holds `admin`, `basemap-uz` and `metro-tashkent`.
Promises: neighbours keep sharing one border (a border between two districts is simplified once, as an arc, and used by
both); a unit is the union of its own districts, so its border lies on theirs; the same input gives the same bytes.
Does not: invent a place. Names come from the official table; those of rivers, lakes, towns and stations, for which the
sources have one spelling only, from `place_names.csv` beside this file. A name the table lacks stops the run.
Source of the method: Douglas and Peucker 1973, on the arcs of the shared topology (as TopoJSON cuts them).
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import mapping, shape

Point = tuple[float, float]
Line = list[Point]
Feature = dict[str, Any]

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "src" / "shahar" / "web" / "static" / "map"
FINE = (69.00, 41.08, 69.55, 41.48)  # the capital and its edge, west south east north: looked at from near, kept whole
COARSE_DEG = 0.0009  # about 90 m: less than a pixel at the zoom a region is looked at
SPECK_DEG2 = 2e-4  # about 2 km2: smaller holes and islands of a union are seams between the sources, not places
METRO_LINES = {  # the order of the stations, by the source's spelling; the source has points only
    "chilonzor": "Buyuk Ipak Yoʻli|Pushkin|Hamid Olimjon|Amir Temur xiyoboni|Mustaqillik maydoni|Paxtakor"
    "|Xalqlar doʻstligi|Milliy bogʻ|Novza|Mirzo Ulugʻbek|Chilonzor|Olmazor|Choshtepa|O‘zgarish|Yangihayot|Chinor",
    "ozbekiston": "Beruniy|Tinchlik|Chorsu|G'afur G'ulom|Alisher Navoiy|Oʻzbekiston|Kosmonavtlar|Oybek|Toshkent"
    "|Mashinasozlar|Do'stlik",
    "yunusobod": "Turkiston|Yunusobod|Shahriston|Bodomzor|Minor|Abdulla Qodiriy|Yunus Rajabiy|Mingoʻrik",
    "ring": "Texnopark|Yashnobod|Tuzel|Olmos|Rohat|Yangiobod|Qo‘yliq|Matonat|Qiyot|Tolarik|Xonobod"
    "|Quruvchilar|Turon|Qipchok",
}


def features(path: Path) -> list[Feature]:
    """Return the features of one GeoJSON file."""
    found: list[Feature] = json.loads(path.read_text("utf-8"))["features"]
    return found


def names_of(row: dict[str, str], prefix: str = "") -> dict[str, str]:
    """Return the names of a table row by language; a language without a name is left out."""
    keys = {"uz": "uz", "uz-Cyrl": "uz_cyrl", "ru": "ru", "en": "en", "kaa": "kaa"}
    pairs = {tag: row[prefix + (key if prefix else tag)].strip() for tag, key in keys.items()}
    return {tag: name for tag, name in pairs.items() if name}


def official_names(folder: Path) -> dict[str, dict[str, str]]:
    """Return the official names of units and districts by SOATO code."""
    with (folder / "admin" / "uz_admin_names.csv").open(encoding="utf-8") as table:
        return {row["soato"]: names_of(row, "name_") for row in csv.DictReader(table)}


def place_names() -> dict[tuple[str, str], dict[str, str]]:
    """Return our own table of names by (layer, the source's spelling)."""
    with (HERE / "place_names.csv").open(encoding="utf-8") as table:
        return {(row["layer"], row["key"]): names_of(row) for row in csv.DictReader(table)}


def rounded(point: Point) -> Point:
    """Round a position: 4 decimals (11 m) in the capital, 3 (110 m) elsewhere."""
    west, south, east, north = FINE
    near = west <= point[0] <= east and south <= point[1] <= north
    return (round(point[0], 4), round(point[1], 4)) if near else (round(point[0], 3), round(point[1], 3))


def in_capital(line: Line) -> bool:
    """Say whether any position of a line lies in the part that is kept whole."""
    west, south, east, north = FINE
    return any(west <= x <= east and south <= y <= north for x, y in line)


def simplified(line: Line) -> Line:
    """Return the arc without the positions nobody would miss; its ends stay."""
    kept = line if in_capital(line) else [(x, y) for x, y in shapely.LineString(line).simplify(COARSE_DEG).coords]
    thin: Line = []
    for point in map(rounded, kept):
        if not thin or thin[-1] != point:
            thin.append(point)
    return thin


def rings(geometry: dict[str, Any]) -> Iterator[Line]:
    """Yield every ring of a polygon or multipolygon as a closed line."""
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    for part in parts:
        for ring in part:
            yield [(x, y) for x, y, *_ in ring]


def junctions(shapes: list[dict[str, Any]]) -> set[Point]:
    """Return the positions where more than two border pieces meet: the ends of arcs."""
    beside: dict[Point, set[Point]] = defaultdict(set)
    for geometry in shapes:
        for ring in rings(geometry):
            for a, b in pairwise(ring):
                beside[a].add(b)
                beside[b].add(a)
    return {point for point, others in beside.items() if len(others) > 2}


def arcs_of(ring: Line, ends: set[Point]) -> list[Line]:
    """Cut a closed ring at its junctions; a ring without one is cut at its lowest and its farthest position."""
    loop = ring[:-1]
    cuts = [i for i, point in enumerate(loop) if point in ends]
    if len(cuts) < 2:
        first = cuts[0] if cuts else loop.index(min(loop))
        far = max(range(len(loop)), key=lambda i: math.dist(loop[i], loop[first]))
        cuts = sorted({first, far})
    turned = loop[cuts[0]:] + loop[:cuts[0]] + [loop[cuts[0]]]
    places = [cut - cuts[0] for cut in cuts] + [len(loop)]
    return [turned[a:b + 1] for a, b in pairwise(places)]


def thinned_ring(ring: Line, ends: set[Point]) -> Line:
    """Return a ring put together again from its simplified arcs, each simplified in one fixed direction."""
    whole: Line = []
    for arc in arcs_of(ring, ends):
        forward = arc[0] <= arc[-1] if arc[0] != arc[-1] else arc[1] <= arc[-2]
        thin = simplified(arc) if forward else simplified(arc[::-1])[::-1]
        whole += thin if not whole else thin[1:]
    return whole


def thinned(geometry: dict[str, Any], ends: set[Point]) -> Any:
    """Return a polygon or multipolygon with every ring simplified, made valid if rounding crossed it."""
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    whole = []
    for part in parts:
        thin = [thinned_ring([(x, y) for x, y, *_ in ring], ends) for ring in part]
        thin = [ring for ring in thin if len(ring) > 3]
        if thin:
            whole.append(shapely.Polygon(thin[0], thin[1:]))
    found = shapely.make_valid(shapely.MultiPolygon(whole) if len(whole) > 1 else whole[0])
    surfaces = ("Polygon", "MultiPolygon")
    return shapely.union_all([one for one in getattr(found, "geoms", [found]) if one.geom_type in surfaces])


def without_specks(geometry: Any) -> Any:
    """Return a union without the holes and islands that are only seams."""
    solid = []
    for part in getattr(geometry, "geoms", [geometry]):
        if part.area > SPECK_DEG2:
            holes = [hole for hole in part.interiors if shapely.Polygon(hole).area > SPECK_DEG2]
            solid.append(shapely.Polygon(part.exterior, holes))
    return shapely.MultiPolygon(solid) if len(solid) > 1 else solid[0]


def label_point(geometry: Any) -> Point:
    """Return where a name stands: the middle of the widest circle inside the largest part."""
    largest = max(getattr(geometry, "geoms", [geometry]), key=lambda part: part.area)
    centre = shapely.maximum_inscribed_circle(largest, tolerance=0.005).coords[0]
    return rounded((centre[0], centre[1]))


def feature(geometry: Any, **properties: Any) -> Feature:
    """Return one GeoJSON feature."""
    return {"type": "Feature", "properties": properties, "geometry": mapping(geometry)}


def area(geometry: Any, soato: str, name: dict[str, str], **more: Any) -> Feature:
    """Return an administrative area: its code, names and where its name stands."""
    lon, lat = label_point(geometry)
    return feature(geometry, soato=soato, name=name, lon=lon, lat=lat, **more)


def is_schematic(unit: str) -> bool:
    """Say whether a unit's district outlines were fitted from a drawing (the input's SOURCE.md): only approximate."""
    return unit not in {"1708", "1722", "1724", "1726", "1727"}


def districts_and_units(folder: Path) -> tuple[list[Feature], list[Feature]]:
    """Return districts with shared borders, and first-level units made of them."""
    names = official_names(folder)
    drawn = features(folder / "admin" / "uz_districts.geojson")
    ends = junctions([one["geometry"] for one in drawn])
    districts, parts = [], defaultdict(list)
    for one in sorted(drawn, key=lambda each: str(each["properties"]["soato"])):
        code, unit, kind = (one["properties"][key] for key in ("soato", "parent", "type"))
        outline = thinned(one["geometry"], ends)
        parts[unit].append(outline)
        districts.append(area(outline, code, names[code], parent=unit, kind=kind, schematic=is_schematic(unit)))
    units = []
    outer = features(folder / "admin" / "uz_regions.geojson")
    for one in sorted(outer, key=lambda each: str(each["properties"]["soato"])):
        code, iso, kind = (one["properties"][key] for key in ("soato", "iso3166_2", "type"))
        units.append(area(without_specks(shapely.union_all(parts[code])), code, names[code], iso=iso, kind=kind))
    return districts, units


def natural(folder: Path, layer: str, file: str) -> list[Feature]:
    """Return a Natural Earth layer (lake, river, town) with names in all languages."""
    names = place_names()
    found = []
    for one in features(folder / "basemap-uz" / file):
        about = one["properties"]
        geometry = shapely.transform(shape(one["geometry"]), lambda c: c.round(4 if layer == "town" else 3))
        more = {"people": about["pop_max"]} if layer == "town" else {}
        found.append(feature(geometry, name=names[layer, about["name"]], rank=int(about["scalerank"]), **more))
    return found


def metro(folder: Path) -> list[Feature]:
    """Return the metro: straight lines from station to station (schematic), then the stations."""
    names = place_names()
    with (folder / "metro-tashkent" / "stations.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    spots = {row["name"]: rounded((float(row["longitude"]), float(row["latitude"]))) for row in rows}
    lines = {line: order.split("|") for line, order in METRO_LINES.items()}
    missing = set(spots) ^ {name for order in lines.values() for name in order}
    if missing:
        raise SystemExit(f"stations of the source and of the lines differ: {sorted(missing)}")
    tracks = [feature(shapely.LineString([spots[name] for name in order]), line=line) for line, order in lines.items()]
    stops = [feature(shapely.Point(spots[name]), line=line, name=names["metro", name])
             for line, order in lines.items() for name in order]
    return tracks + stops


def write(name: str, layer: list[Feature]) -> int:
    """Write one layer, one feature a line so that a change can be read; return its size in bytes."""
    lines = ",\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in layer)
    text = '{"type":"FeatureCollection","features":[\n' + lines + "\n]}\n"
    (TARGET / f"{name}.geojson").write_text(text, "utf-8")
    return len(text.encode())


def main(folder: Path) -> None:
    """Write all layers and say how large they became."""
    TARGET.mkdir(parents=True, exist_ok=True)
    districts, units = districts_and_units(folder)
    layers = {
        "units": units,
        "districts": districts,
        "rivers": natural(folder, "river", "ne_rivers_uz.geojson"),
        "lakes": natural(folder, "lake", "ne_lakes_uz.geojson"),
        "towns": natural(folder, "town", "ne_places_uz.geojson"),
        "metro": metro(folder),
    }
    sizes = {name: write(name, layer) for name, layer in layers.items()}
    print(*(f"{name}: {len(layers[name])} features, {size} bytes" for name, size in sizes.items()), sep="\n")
    print(f"together {sum(sizes.values())} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python ui/scripts/map_layers.py FOLDER")
    main(Path(sys.argv[1]))
