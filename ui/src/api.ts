/* What the platform says to this page, as it says it, and how it is asked. Every path is a GET of the same origin. */

export type Words = Record<string, string>
export type State = 'normal' | 'advisory' | 'minor' | 'major' | 'critical' | 'stale' | 'nodata'

export interface Clock {
  at: string
  speed: number
  live: boolean
  label: 'demo' | 'wall'
  start: string | null
  now: string
}

export interface Unit {
  soato: string
  name: Words
  lon: number
  lat: number
  has_data: boolean
}

export interface System {
  key: string
  title: Words
  icon: string
}

export interface City {
  name: Words
  tenant: string | null
  timezone: string
  bbox: [number, number, number, number]
  demo: boolean
  notice: Words | null
  attribution: string[]
  unit: { soato: string; name: Words } | null
  units: Unit[]
  systems: System[]
  clock: Clock
  history_from: string | null
}

export interface Thing {
  id: string
  type: string
  system: string
  name: Words
  lon: number | null
  lat: number | null
  state: State
  step_label: Words | null
  value: number | null
  unit: string | null
  attribute: string | null
  label: Words | null
  at: string | null
  age_s: number | null
  fresh_s: number
  note: Words | null
  borrowed: { place: string; licence: string; source: string } | null
  simulated: boolean
  source: string | null
}

export interface Reading {
  attribute: string
  label: Words
  value: number | string | boolean | null
  unit: string | null
  at: string | null
  age_s: number | null
  source: string | null
  original_at: string | null
  fresh_s: number
  state: State
  step_label: Words | null
  chart: boolean
}

export interface ThingInFull extends Thing {
  values: Reading[]
  about: Words | null
}

export interface History {
  points: [number, number][]
  unit: string | null
  hours: number
  from: string
  to: string
  limit: number | null
  limit_kind: 'max' | 'min' | null
  limit_label: Words | null
}

export interface Tile {
  key: string
  system: string
  title: Words
  value: number | null
  unit: string | null
  at: string | null
  age_s: number | null
  fresh_s: number | null
  limit: number | null
  limit_kind: 'max' | 'min' | null
  state: State
  step_label: Words | null
  spark: [number, number][]
  spark_hours: number
  count: number
  of: number
  note: Words | null
  elsewhere: string[]
  simulated: boolean
}

/** The platform refused or did not answer; `status` is 0 when nobody answered. */
export class Refused extends Error {
  constructor(
    readonly path: string,
    readonly status: number,
  ) {
    super(`${path}: ${status}`)
  }
}

async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, { headers: { accept: 'application/json' }, ...(signal ? { signal } : {}) })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refused(path, 0)
  }
  if (!answer.ok) throw new Refused(path, answer.status)
  return (await answer.json()) as T
}

export const askCity = (): Promise<City> => ask('/ops/api/city')
export const askThings = async (): Promise<Thing[]> => (await ask<{ objects: Thing[] }>('/ops/api/objects')).objects
export const askTiles = async (): Promise<Tile[]> => (await ask<{ tiles: Tile[] }>('/ops/api/tiles')).tiles
export const askThing = (id: string, signal?: AbortSignal): Promise<ThingInFull> =>
  ask(`/ops/api/objects/${encodeURIComponent(id)}`, signal)
/** Without hours the platform takes the shortest period that makes a line. */
export const askHistory = (id: string, attribute: string, hours: number | null, signal?: AbortSignal): Promise<History> =>
  ask(`/ops/api/history?${new URLSearchParams({ id, attribute, ...(hours === null ? {} : { hours: String(hours) }) })}`, signal)
export const askLayer = (name: string): Promise<GeoJSON.FeatureCollection> => ask(`/ops/map/${name}.geojson`)

export interface Told {
  clock: (clock: Clock) => void
  things: (things: Thing[], gone: string[]) => void
  tiles: (tiles: Tile[]) => void
  connected: (again: boolean) => void
  lost: () => void
}

const RETRY_MS = 5000

/**
 * Follow the live stream until the returned function is called. The browser reconnects by itself after a cut; after a refusal it
 * gives up for good, so then a new connection is made here. `connected(true)` says that something may have been missed.
 */
export function follow(told: Told): () => void {
  let source: EventSource
  let before = false
  let retry = 0
  const hear = <T>(name: string, tell: (said: T) => void): void =>
    source.addEventListener(name, (event) => tell(JSON.parse((event as MessageEvent<string>).data) as T))
  const open = (): void => {
    source = new EventSource('/ops/api/stream')
    source.onopen = () => {
      told.connected(before)
      before = true
    }
    source.onerror = () => {
      told.lost()
      if (source.readyState === EventSource.CLOSED) retry = window.setTimeout(open, RETRY_MS)
    }
    hear<Clock>('clock', told.clock)
    hear<{ objects: Thing[]; gone: string[] }>('objects', (said) => told.things(said.objects, said.gone))
    hear<{ tiles: Tile[] }>('tiles', (said) => told.tiles(said.tiles))
  }
  open()
  return () => {
    window.clearTimeout(retry)
    source.close()
  }
}
