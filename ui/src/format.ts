/* Numbers, moments and plurals as people here write them. Pure: language and clock are arguments. */

export const LANGUAGES = ['uz', 'uz-Cyrl', 'ru', 'kaa', 'en'] as const
export type Language = (typeof LANGUAGES)[number]

const NARROW = '\u00a0' // groups of thousands; never breaks a line

/** How many decimals tell something: a small number shows more, a whole number none. */
export function decimalsOf(value: number): number {
  const size = Math.abs(value)
  if (Number.isInteger(value) || size >= 100) return 0
  return size >= 10 ? 1 : 2
}

/** `1 234 567,8` in the languages of the country, `1,234,567.8` in English, with a true minus sign. */
export function numberText(value: number, language: Language, decimals = decimalsOf(value)): string {
  const [whole = '0', part = ''] = Math.abs(value).toFixed(decimals).split('.')
  const english = language === 'en'
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, english ? ',' : NARROW)
  const trimmed = part.replace(/0+$/, '')
  const text = trimmed ? `${grouped}${english ? '.' : ','}${trimmed}` : grouped
  return value < 0 && /[1-9]/.test(text) ? `\u2212${text}` : text
}

/** Which form of a word follows a number: 0, 1 or 2 in Russian, 0 or 1 in English, always 0 in Uzbek and Karakalpak. */
export function pluralForm(count: number, language: Language): number {
  if (language === 'en') return count === 1 ? 0 : 1
  if (language !== 'ru') return 0
  const last = count % 10
  if (count % 100 >= 11 && count % 100 <= 14) return 2
  return last === 1 ? 0 : last >= 2 && last <= 4 ? 1 : 2
}

/** Put values into `{name}` and choose among `{name:one|few|many}` by the number of that name. */
export function fill(text: string, values: Record<string, string | number>, language: Language): string {
  return text.replace(/\{(\w+)(?::([^}]*))?\}/g, (_, name: string, forms?: string) => {
    const value = values[name]
    if (value === undefined) return ''
    if (forms === undefined) return typeof value === 'number' ? numberText(value, language) : value
    const all = forms.split('|')
    return all[Math.min(pluralForm(Number(value), language), all.length - 1)] ?? ''
  })
}

export interface Moment {
  year: number
  month: number
  day: number
  time: string
}

const clocks = new Map<string, Intl.DateTimeFormat>()

/** The date and `hh:mm` of an instant (milliseconds) as a wall clock in that time zone shows them. */
export function momentIn(at: number, zone: string): Moment {
  let clock = clocks.get(zone)
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-GB', {
      timeZone: zone, year: 'numeric', month: 'numeric', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
    })
    clocks.set(zone, clock)
  }
  const parts = Object.fromEntries(clock.formatToParts(at).map((part) => [part.type, part.value]))
  return { year: Number(parts.year), month: Number(parts.month), day: Number(parts.day), time: `${parts.hour}:${parts.minute}` }
}

export type Age = { key: 'now' | 'minutes' | 'hours' | 'days' | 'ahead'; n: number }

/** An age in the largest whole unit that is exact enough: minutes to two hours, hours to two days, then days. */
export function ageOf(seconds: number): Age {
  if (seconds < -90) return { key: 'ahead', n: 0 }
  if (seconds < 60) return { key: 'now', n: 0 }
  if (seconds < 2 * 3600) return { key: 'minutes', n: Math.floor(seconds / 60) }
  if (seconds < 48 * 3600) return { key: 'hours', n: Math.floor(seconds / 3600) }
  return { key: 'days', n: Math.floor(seconds / 86400) }
}
