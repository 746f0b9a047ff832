import { describe, expect, it } from 'vitest'
import { drawingOf, ICONS } from './icons'
import { grownOld } from './states'

const AT = '2026-11-22T12:00:00Z'
const read = { state: 'minor' as const, at: AT, fresh_s: 3600, step_label: { uz: 'Ogʻir' } }

describe('a reading', () => {
  it('stays what it is while it is fresh', () => expect(grownOld(read, Date.parse(AT) + 3600_000)).toBe(read))
  it('is stale, and says nothing more, when its time has passed', () =>
    expect(grownOld(read, Date.parse(AT) + 3600_001)).toEqual({ ...read, state: 'stale', step_label: null }))
  it('that never was does not grow old', () => {
    const none = { ...read, state: 'nodata' as const, at: null }
    expect(grownOld(none, Date.parse(AT))).toBe(none)
  })
})

describe('the icon of a system', () => {
  it('is the path that it brings, in a box of 24', () => expect(drawingOf('M4 21V6l8-3v18')).toEqual({ path: 'M4 21V6l8-3v18', box: 24 }))
  it('is a chip when it is no path', () => expect(['', 'parking', '<svg>', 'M1 1"/>'].map((icon) => drawingOf(icon).path)).toEqual(Array(4).fill(ICONS.device)))
})
