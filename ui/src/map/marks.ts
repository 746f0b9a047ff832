/* From what the platform says to what the map draws: objects as points, names as points, in one language. */
import type { Thing, Unit, Words } from '../api'
import { RANK, worstFirst } from '../states'
import type { LayerName } from './places'

type Point = GeoJSON.Feature<GeoJSON.Point>
type Name = (words: Words | null | undefined) => string

// On a map of the city a district goes by its own name; further out it keeps the word for what it is.
const KIND_WORDS = [/ tumani$/, / тумани$/, / rayonı$/, / district$/, / район$/]
const shortName = (name: string): string => KIND_WORDS.reduce((left, word) => left.replace(word, ''), name)

const point = (lon: number, lat: number, properties: GeoJSON.GeoJsonProperties): Point => ({ type: 'Feature', geometry: { type: 'Point', coordinates: [lon, lat] }, properties })
export const collected = (features: GeoJSON.Feature[]): GeoJSON.FeatureCollection => ({ type: 'FeatureCollection', features })

/** Objects with a place, the worst last so that they lie on top. */
export function thingMarks(things: Thing[], icons: Map<string, string>, value: (thing: Thing) => string): GeoJSON.FeatureCollection {
  const placed = things.filter((thing) => thing.lon !== null && thing.lat !== null).sort((a, b) => worstFirst(b, a))
  return collected(placed.map((thing) => point(thing.lon ?? 0, thing.lat ?? 0, {
    id: thing.id, rank: RANK[thing.state], value: value(thing),
    pin: `pin/${icons.get(thing.system) ?? 'device'}/${thing.state}/${thing.borrowed ? 'far' : 'own'}`,
  })))
}

/** Names of units, districts, towns, stations; and of the places where borrowed readings were taken. */
export function nameMarks(layers: Record<LayerName, GeoJSON.FeatureCollection>, unit: string, silent: Map<string, Unit>, far: Thing[], name: Name, words: { noData: string; noBase: string }): GeoJSON.FeatureCollection {
  const at = (one: GeoJSON.Feature): [number, number] => [Number(one.properties?.lon), Number(one.properties?.lat)]
  const named = (one: GeoJSON.Feature): string => name(one.properties?.name as Words)
  const units = layers.units.features.map((one) => {
    const quiet = silent.has(String(one.properties?.soato))
    return point(...at(one), { kind: 'unit', order: 0, label: named(one), longer: quiet ? `${named(one)}\n${words.noData}` : named(one) })
  })
  const districts = layers.districts.features.map((one) => {
    const own = one.properties?.parent === unit
    return point(...at(one), { kind: own ? 'own' : 'far', order: 2, label: own ? shortName(named(one)) : named(one) })
  })
  const spots = (features: GeoJSON.Feature[], kind: string, order: (one: GeoJSON.Feature) => number): Point[] =>
    features.filter((one): one is Point => one.geometry.type === 'Point').map((one) => ({ ...one, properties: { kind, order: order(one), label: named(one) } }))
  const towns = spots(layers.towns.features, 'town', (one) => Number(one.properties?.rank))
  const stations = spots(layers.metro.features, 'station', () => 9)
  return collected([...units, ...districts, ...towns, ...stations, ...farPlaces(far, words.noBase)])
}

/** One name for each place of borrowed readings, at their middle. */
function farPlaces(far: Thing[], noBase: string): Point[] {
  const placed = far.filter((thing) => thing.lon !== null)
  const places = [...new Set(placed.map((thing) => thing.borrowed?.place ?? ''))]
  return places.map((place) => {
    const things = placed.filter((thing) => thing.borrowed?.place === place)
    const middle = (axis: 'lon' | 'lat'): number => things.reduce((sum, thing) => sum + (thing[axis] ?? 0), 0) / things.length
    const south = Math.min(...things.map((thing) => thing.lat ?? 0))
    return point(middle('lon'), south, { kind: 'place', order: 0, label: `${place}\n${noBase}` })
  })
}
