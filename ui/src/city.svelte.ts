/* What this page knows of the city: asked once, then kept by the live stream. Promises that no change is lost over a cut
   connection (everything is asked again), that ages are counted by the city's clock, not by the computer's, and that a reading
   which nobody renews grows stale here too. */
import { askCity, askThings, askTiles, follow, Refused, type City, type Clock, type Thing, type Tile } from './api'
import { speech } from './language.svelte'
import { grownOld } from './states'

const TICK_MS = 1000
const AGAIN_MS = 5000

class CityView {
  city = $state.raw<City | null>(null)
  things = $state.raw<ReadonlyMap<string, Thing>>(new Map())
  tiles = $state.raw<Tile[]>([])
  clock = $state.raw<Clock | null>(null)
  now = $state(Date.now())
  connected = $state(true)
  fault = $state<'' | 'city' | 'denied'>('')
  chosen = $state<string | null>(null)
  hidden = $state.raw<ReadonlySet<string>>(new Set())
  only = $state<string | null>(null)
  metro = $state(true)
  borrowed = $state(true)
  #heard = performance.now()
  #stop: (() => void) | null = null

  own = $derived([...this.things.values()].filter((thing) => !thing.borrowed))
  elsewhere = $derived([...this.things.values()].filter((thing) => thing.borrowed))
  shown = $derived(this.own.filter((thing) => !this.hidden.has(thing.system)))
  chosenThing = $derived(this.chosen === null ? null : (this.things.get(this.chosen) ?? null))
  catching = $derived(this.clock !== null && this.clock.label === 'demo' && !this.clock.live)

  async start(): Promise<void> {
    try {
      const [city, things, tiles] = await Promise.all([askCity(), askThings(), askTiles()])
      speech.zone = city.timezone
      this.city = city
      this.#setClock(city.clock)
      this.things = new Map(things.map((thing) => [thing.id, thing]))
      this.tiles = tiles
      this.fault = ''
      this.#listen()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.fault = error.status === 401 || error.status === 403 ? 'denied' : 'city'
      if (this.fault === 'city') window.setTimeout(() => void this.start(), AGAIN_MS)
    }
  }

  choose(id: string | null): void {
    this.chosen = id
    const thing = id === null ? undefined : this.things.get(id)
    if (thing?.borrowed) this.borrowed = true
    else if (thing && this.hidden.has(thing.system)) this.toggle(thing.system)
  }

  toggle(system: string): void {
    const hidden = new Set(this.hidden)
    if (!hidden.delete(system)) hidden.add(system)
    this.hidden = hidden
    if (this.only === system && hidden.has(system)) this.only = null
  }

  /** Show one system in the list, or all again when it was the one shown. */
  narrow(system: string): void {
    this.only = this.only === system ? null : system
    if (this.hidden.has(system)) this.toggle(system)
  }

  #listen(): void {
    if (this.#stop) return
    const told = {
      clock: (clock: Clock) => this.#setClock(clock),
      things: (things: Thing[], gone: string[]) => this.#merge(things, gone),
      tiles: (tiles: Tile[]) => (this.tiles = tiles),
      connected: (again: boolean) => {
        this.connected = true
        if (again) void this.#refresh()
      },
      lost: () => (this.connected = false),
    }
    const unfollow = follow(told)
    const tick = window.setInterval(() => this.#beat(), TICK_MS)
    this.#stop = () => {
      unfollow()
      window.clearInterval(tick)
    }
  }

  stop(): void {
    this.#stop?.()
    this.#stop = null
  }

  async #refresh(): Promise<void> {
    try {
      const [things, tiles] = await Promise.all([askThings(), askTiles()])
      this.things = new Map(things.map((thing) => [thing.id, thing]))
      this.tiles = tiles
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.connected = false // the stream will say when it is back, and this is tried again
    }
  }

  #merge(things: Thing[], gone: string[] = []): void {
    const merged = new Map(this.things)
    for (const thing of things) merged.set(thing.id, thing)
    for (const id of gone) merged.delete(id)
    this.things = merged
    if (this.chosen !== null && !merged.has(this.chosen)) this.chosen = null
  }

  #beat(): void {
    this.now = this.#cityTime()
    const old = [...this.things.values()].filter((thing) => grownOld(thing, this.now) !== thing)
    if (old.length) this.#merge(old.map((thing) => grownOld(thing, this.now)))
  }

  #setClock(clock: Clock): void {
    this.clock = clock
    this.#heard = performance.now()
    this.now = this.#cityTime()
  }

  /** The city's clock between two words from the platform: it runs at its speed, and never past the real time. */
  #cityTime(): number {
    if (!this.clock) return Date.now()
    const gone = performance.now() - this.#heard
    return Math.min(Date.parse(this.clock.at) + gone * this.clock.speed, Math.max(Date.parse(this.clock.now) + gone, Date.parse(this.clock.at)))
  }
}

export const view = new CityView()
