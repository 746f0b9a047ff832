/* The map's layers as data: fetched once, used by the map and by the search. */
import { askLayer, type Words } from '../api'
import { fold } from '../fold'

export interface Place {
  soato: string
  name: Words
  lon: number
  lat: number
  folded: string
  own: boolean
}

export type LayerName = 'units' | 'districts' | 'rivers' | 'lakes' | 'towns' | 'metro'
const asked = new Map<LayerName, Promise<GeoJSON.FeatureCollection>>()

/** Return a layer; a layer that could not be had is empty now and asked for again the next time. */
export function layer(name: LayerName): Promise<GeoJSON.FeatureCollection> {
  const before = asked.get(name)
  if (before) return before
  const now = askLayer(name).catch((): GeoJSON.FeatureCollection => {
    asked.delete(name)
    return { type: 'FeatureCollection', features: [] }
  })
  asked.set(name, now)
  return now
}

/** Return the districts as places to go to, those of the city's own unit first. */
export async function districtPlaces(unit: string): Promise<Place[]> {
  const { features } = await layer('districts')
  const places = features.map(({ properties }) => ({
    soato: String(properties?.soato), name: properties?.name as Words, lon: Number(properties?.lon), lat: Number(properties?.lat),
    folded: fold(Object.values((properties?.name ?? {}) as Words).join(' ')), own: properties?.parent === unit,
  }))
  return places.sort((a, b) => Number(b.own) - Number(a.own))
}
