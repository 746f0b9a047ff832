/* The page's language: chosen by ?lang=, then by the last choice, then by the browser, else Uzbek; and the words in it. */
import type { State, Words } from './api'
import { ageOf, fill, LANGUAGES, momentIn, numberText, type Language } from './format'
import en from './words/en.json'
import kaa from './words/kaa.json'
import ru from './words/ru.json'
import uzCyrl from './words/uz-Cyrl.json'
import uz from './words/uz.json'

export type Key = keyof typeof uz
const WORDS: Record<Language, Record<Key, string>> = { uz, 'uz-Cyrl': uzCyrl, ru, kaa, en }
export const SHORT: Record<Language, [short: string, full: string]> = {
  uz: ['Oʻz', 'Oʻzbekcha'], 'uz-Cyrl': ['Ўз', 'Ўзбекча'], ru: ['Ru', 'Русский'], kaa: ['Qq', 'Qaraqalpaqsha'], en: ['En', 'English'],
}
const STORED = 'shahar.language'
const isLanguage = (tag: string | null): tag is Language => LANGUAGES.includes(tag as Language)

function remembered(): string | null {
  try {
    return localStorage.getItem(STORED)
  } catch {
    return null // a browser that keeps nothing still shows the page
  }
}

function first(): Language {
  const asked = new URLSearchParams(location.search).get('lang')
  const kept = remembered()
  const spoken = navigator.languages.map((tag) => (/^uz-cyrl/i.test(tag) ? 'uz-Cyrl' : (tag.split('-')[0] ?? ''))).find((tag) => tag !== 'en' && isLanguage(tag))
  return isLanguage(asked) ? asked : isLanguage(kept) ? kept : isLanguage(spoken ?? null) ? (spoken as Language) : 'uz'
}

class Speech {
  language = $state<Language>(first())
  zone = $state('Asia/Tashkent')

  choose(language: Language): void {
    this.language = language
    try {
      localStorage.setItem(STORED, language)
    } catch {
      // as above: the address still carries it
    }
    const address = new URL(location.href)
    address.searchParams.set('lang', language)
    history.replaceState(null, '', address)
  }

  /** A word of this page. */
  say(key: Key, values: Record<string, string | number> = {}): string {
    return fill(WORDS[this.language][key], values, this.language)
  }

  /** A name or word of the platform in the page's language, else in the nearest one that it has. */
  name(words: Words | null | undefined): string {
    if (!words) return ''
    return words[this.language] ?? words.uz ?? words.en ?? Object.values(words)[0] ?? ''
  }

  /** The word of a state: the system's own step where it has a scale, else how bad it is. */
  state(one: { state: State; step_label: Words | null }): string {
    return this.name(one.step_label) || this.say(`state.${one.state}`)
  }

  number(value: number, decimals?: number): string {
    return numberText(value, this.language, decimals)
  }

  /** `22-noyabr 2026, 14:32`; without the year when `short`. */
  moment(at: number, short = false): string {
    const { year, month, day, time } = momentIn(at, this.zone)
    const values = { day: String(day), month: this.say(`month.${month}` as Key), year: String(year) }
    return `${this.say(short ? 'date' : 'date.year', values)}, ${time}`
  }

  day(at: number): string {
    const { month, day } = momentIn(at, this.zone)
    return this.say('date', { day: String(day), month: this.say(`month.${month}` as Key) })
  }

  time(at: number): string {
    return momentIn(at, this.zone).time
  }

  /** `4 daqiqa oldin`, for an instant seen from another. */
  age(at: string | null, now: number): string {
    if (!at) return this.say('age.none')
    const { key, n } = ageOf((now - Date.parse(at)) / 1000)
    return this.say(`age.${key}`, { n })
  }
}

export const speech = new Speech()
