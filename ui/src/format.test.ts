import { describe, expect, it } from 'vitest'
import { ageOf, decimalsOf, fill, momentIn, numberText, pluralForm } from './format'
import { fold, matches } from './fold'

describe('numbers', () => {
  it.each([
    [1234567.8, 'uz', '1\u00a0234\u00a0567,8'],
    [1234567.8, 'en', '1,234,567.8'],
    [1234567.8, 'kaa', '1\u00a0234\u00a0567,8'],
    [-7.25, 'ru', '\u22127,25'],
    [0, 'uz', '0'],
  ] as const)('%d in %s is %s', (value, language, text) => expect(numberText(value, language, Number.isInteger(value) ? 0 : value < 0 ? 2 : 1)).toBe(text))
  it('show more decimals the smaller they are', () => expect([1999.4, 31.42, 3.621, 7].map(decimalsOf)).toEqual([0, 1, 2, 0]))
  it('never read minus zero', () => expect(numberText(-0.001, 'uz')).toBe('0'))
})

describe('words after a number', () => {
  it('have three forms in Russian', () => expect([1, 2, 5, 11, 14, 21, 22, 112].map((n) => pluralForm(n, 'ru'))).toEqual([0, 1, 2, 2, 2, 0, 1, 2]))
  it('are put into a text with the number', () => expect(fill('{n} {n:минуту|минуты|минут} назад', { n: 22 }, 'ru')).toBe('22 минуты назад'))
  it('have one form in Uzbek', () => expect(fill('{n} daqiqa oldin', { n: 1200 }, 'uz')).toBe('1\u00a0200 daqiqa oldin'))
})

describe('time', () => {
  it('is told by the clocks of the city', () =>
    expect(momentIn(Date.parse('2026-11-22T19:30:00Z'), 'Asia/Tashkent')).toEqual({ year: 2026, month: 11, day: 23, time: '00:30' }))
  it('passes in the largest unit that is exact enough', () =>
    expect([5, 240, 7100, 7300, 200_000, -3600].map((age) => ageOf(age).key)).toEqual(['now', 'minutes', 'minutes', 'hours', 'days', 'ahead']))
})

describe('search', () => {
  it.each(["G'afur", 'Gʻafur', 'G‘AFUR', 'Ғафур', 'gafur'])('finds Gʻafur Gʻulom by %s', (typed) => expect(matches(fold('Gʻafur Gʻulom bogʻi'), fold(typed))).toBe(true))
  it('finds a Latin name by Cyrillic letters', () => expect(matches(fold('Shayxontohur tumani'), fold('Шайхонтоҳур'))).toBe(true))
  it('finds a Karakalpak name without its accents', () => expect(matches(fold('Nókis qalası'), fold('nokis'))).toBe(true))
  it('wants every word', () => expect(matches(fold('Yunusobod tumani'), fold('yunus chilonzor'))).toBe(false))
  it('finds nothing for nothing', () => expect(matches(fold('Yunusobod'), fold(' ʻ '))).toBe(false))
})
