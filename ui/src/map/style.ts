/* The map's look: near-white districts of the city on a grey ground, borders and names that stay behind the objects. */
import type { ExpressionSpecification, LayerSpecification, SourceSpecification, StyleSpecification } from 'maplibre-gl'
import type { Palette } from './pins'

// The map draws letters itself with these (no font server); the weight is taken from the first name, which no machine has.
const FAMILIES = ['system-ui', 'Segoe UI', 'Roboto', 'Noto Sans', 'Helvetica Neue', 'Arial', 'DejaVu Sans']
const MEDIUM = ['Shahar Medium', ...FAMILIES]
const REGULAR = ['Shahar Regular', ...FAMILIES]
const CITY_ZOOM = 8.6 // from here on districts matter, before it the units
const CLUSTER_TO_ZOOM = 13
export const EMPTY: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] }

const kind = (...names: string[]): ExpressionSpecification => ['in', ['get', 'kind'], ['literal', names]]

function sources(): Record<string, SourceSpecification> {
  const plain = (): SourceSpecification => ({ type: 'geojson', data: EMPTY })
  const clustered: SourceSpecification = {
    type: 'geojson', data: EMPTY, cluster: true, clusterRadius: 38, clusterMaxZoom: CLUSTER_TO_ZOOM,
    clusterProperties: { worst: ['max', ['get', 'rank']], bad: ['+', ['case', ['>=', ['get', 'rank'], 3], 1, 0]] },
  }
  return { units: plain(), districts: plain(), rivers: plain(), lakes: plain(), metro: plain(), names: plain(), things: clustered, far: plain(), chosen: plain() }
}

function ground(palette: Palette, unit: string, silent: string[]): LayerSpecification[] {
  const own: ExpressionSpecification = ['==', ['get', 'parent'], unit]
  return [
    { id: 'ground', type: 'background', paint: { 'background-color': palette('--map-ground') } },
    { id: 'country', type: 'fill', source: 'units', maxzoom: CITY_ZOOM + 0.6, paint: { 'fill-color': palette('--map-country'), 'fill-opacity': ['interpolate', ['linear'], ['zoom'], CITY_ZOOM - 0.4, 1, CITY_ZOOM + 0.6, 0] } },
    { id: 'silent', type: 'fill', source: 'units', maxzoom: CITY_ZOOM, filter: ['in', ['get', 'soato'], ['literal', silent]], paint: { 'fill-pattern': 'hatch' } },
    { id: 'own-unit', type: 'fill', source: 'units', filter: ['==', ['get', 'soato'], unit], paint: { 'fill-color': palette('--map-city') } },
    { id: 'districts', type: 'fill', source: 'districts', minzoom: 7, filter: own, paint: { 'fill-color': palette('--map-city') } },
    { id: 'lakes', type: 'fill', source: 'lakes', paint: { 'fill-color': palette('--map-water') } },
    { id: 'rivers', type: 'line', source: 'rivers', paint: { 'line-color': palette('--map-water'), 'line-width': ['interpolate', ['linear'], ['zoom'], 5, 1, 10, 3] } },
    { id: 'far-districts', type: 'line', source: 'districts', minzoom: 7, filter: ['!', own], paint: { 'line-color': palette('--map-faint'), 'line-width': 1 } },
    { id: 'own-districts', type: 'line', source: 'districts', minzoom: 8, filter: own, paint: { 'line-color': palette('--map-district'), 'line-width': 0.9 } },
    { id: 'borders', type: 'line', source: 'units', paint: { 'line-color': palette('--map-edge'), 'line-width': ['interpolate', ['linear'], ['zoom'], 4, 0.8, 10, 1.3] }, layout: { 'line-join': 'round' } },
  ]
}

function metro(palette: Palette): LayerSpecification[] {
  return [
    { id: 'metro-lines', type: 'line', source: 'metro', minzoom: CITY_ZOOM + 0.6, filter: ['==', ['geometry-type'], 'LineString'], layout: { 'line-join': 'round', 'line-cap': 'round' },
      paint: { 'line-color': palette('--map-metro'), 'line-width': ['interpolate', ['linear'], ['zoom'], 9, 1.2, 10, 2, 13, 3] } },
    { id: 'metro-stations', type: 'circle', source: 'metro', minzoom: 9.4, filter: ['==', ['geometry-type'], 'Point'],
      paint: { 'circle-radius': ['interpolate', ['linear'], ['zoom'], 9.4, 1.6, 10, 2.2, 13, 4], 'circle-color': palette('--map-station') } },
  ]
}

function text(id: string, which: ExpressionSpecification, zooms: [number, number], size: number, colour: string, halo: string, more: object = {}): LayerSpecification {
  return {
    id, type: 'symbol', source: 'names', minzoom: zooms[0], maxzoom: zooms[1], filter: which,
    layout: { 'text-field': ['get', 'label'], 'text-font': MEDIUM, 'text-size': size, 'text-max-width': 8, 'text-padding': 4, 'symbol-sort-key': ['get', 'order'], ...more },
    paint: { 'text-color': colour, 'text-halo-color': halo, 'text-halo-width': 1.4 },
  }
}

function names(palette: Palette): LayerSpecification[] {
  const spaced = { 'text-font': REGULAR, 'text-letter-spacing': 0.06 }
  const halo = palette('--map-halo')
  return [
    text('names-far', kind('far'), [CITY_ZOOM, 24], 11, palette('--ink-3'), palette('--map-ground'), spaced),
    text('names-own', kind('own'), [CITY_ZOOM + 0.8, 24], 12, palette('--ink-2'), halo, { 'text-variable-anchor': ['center', 'top', 'bottom', 'left', 'right'], 'text-radial-offset': 1.1, 'text-padding': 1 }),
    text('names-units', kind('unit'), [3, CITY_ZOOM], 12, palette('--ink-2'), palette('--map-country'), { 'text-field': ['step', ['zoom'], ['get', 'label'], 6.4, ['get', 'longer']], 'text-size': ['interpolate', ['linear'], ['zoom'], 5, 11, 7, 12], 'text-padding': 1, 'text-variable-anchor': ['center', 'top', 'bottom', 'left', 'right'], 'text-radial-offset': 0.8 }),
    text('names-towns', kind('town'), [6.4, CITY_ZOOM + 0.6], 11, palette('--ink-3'), palette('--map-country'), spaced),
    text('names-stations', kind('station'), [12.4, 24], 11, palette('--ink-3'), halo, { 'text-offset': [0, 1], 'text-anchor': 'top', 'text-font': REGULAR }),
    text('names-places', kind('place'), [5, 24], 12, palette('--ink-2'), palette('--map-ground'), { 'text-offset': [0, 2.8], 'text-anchor': 'top', 'text-max-width': 20, 'text-allow-overlap': true }),
  ]
}

function things(palette: Palette): LayerSpecification[] {
  const values = { 'text-font': MEDIUM, 'text-size': 11, 'text-offset': [0, 1.1] as [number, number], 'text-anchor': 'top' as const, 'text-optional': true, 'text-padding': 1 }
  const paint = { 'text-color': palette('--ink'), 'text-halo-color': palette('--map-halo'), 'text-halo-width': 1.4 }
  const alone: ExpressionSpecification = ['!', ['has', 'point_count']]
  return [
    { id: 'clusters', type: 'symbol', source: 'things', filter: ['has', 'point_count'],
      layout: { 'icon-image': ['concat', 'cluster/', ['to-string', ['get', 'point_count']], '/', ['to-string', ['get', 'bad']], '/', ['to-string', ['get', 'worst']]], 'icon-allow-overlap': true } },
    { id: 'quiet', type: 'symbol', source: 'things', filter: ['all', alone, ['<', ['get', 'rank'], 3]], paint,
      layout: { 'icon-image': ['get', 'pin'], 'icon-allow-overlap': true, 'icon-ignore-placement': false, 'text-field': ['step', ['zoom'], '', 11, ['get', 'value']], ...values } },
    { id: 'loud', type: 'symbol', source: 'things', filter: ['all', alone, ['>=', ['get', 'rank'], 3]], paint,
      layout: { 'icon-image': ['get', 'pin'], 'icon-allow-overlap': true, 'symbol-sort-key': ['get', 'rank'], 'text-field': ['get', 'value'], ...values, 'text-offset': [0, 1.4] } },
    { id: 'far', type: 'symbol', source: 'far', layout: { 'icon-image': ['get', 'pin'], 'icon-allow-overlap': true, 'symbol-sort-key': ['get', 'rank'] } },
    { id: 'chosen-ring', type: 'circle', source: 'chosen', paint: { 'circle-radius': 19, 'circle-color': palette('--map-halo'), 'circle-opacity': 0.75, 'circle-stroke-color': palette('--ink'), 'circle-stroke-width': 2 } },
    { id: 'chosen', type: 'symbol', source: 'chosen', layout: { 'icon-image': ['get', 'pin'], 'icon-allow-overlap': true } },
  ]
}

/** Return the whole style; `silent` are the units without data, drawn hatched. All sources begin empty. */
export function mapStyle(palette: Palette, unit: string, silent: string[]): StyleSpecification {
  return { version: 8, sources: sources(), layers: [...ground(palette, unit, silent), ...metro(palette), ...names(palette), ...things(palette)] }
}

export const PRESSED = ['chosen', 'loud', 'far', 'quiet', 'clusters']
export const BORDERS = ['far-districts', 'own-districts']
export const METRO = ['metro-lines', 'metro-stations', 'names-stations']
