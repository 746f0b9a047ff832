/* The seven states of an object: how bad, which shape. Shape, word and colour always go together (ISA-101). */
import type { State, Thing, Words } from './api'

export const RANK: Record<State, number> = { critical: 6, major: 5, minor: 4, advisory: 3, stale: 2, nodata: 1, normal: 0 }
export const isAbnormal = (state: State): boolean => RANK[state] >= 3
export const isSilent = (state: State): boolean => state === 'stale' || state === 'nodata'

/** The sign of a state in a box of 16 x 16: diamond, triangle, square, circle. */
export const SHAPE: Record<State, string> = {
  critical: 'M8 .6 15.4 8 8 15.4.6 8z',
  major: 'M8 1 15.6 14.6H.4z',
  minor: 'M1.8 1.8h12.4v12.4H1.8z',
  advisory: 'M8 1.4a6.6 6.6 0 1 0 0 13.2A6.6 6.6 0 0 0 8 1.4z',
  normal: 'M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  stale: 'M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6z',
  nodata: 'M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
}

/** The same reading, or, when its time of freshness has passed, as a stale one. */
export function grownOld<Read extends { state: State; at: string | null; fresh_s: number; step_label: Words | null }>(one: Read, now: number): Read {
  if (one.at === null || isSilent(one.state) || now - Date.parse(one.at) <= one.fresh_s * 1000) return one
  return { ...one, state: 'stale', step_label: null }
}

/** Worst first, among equals the longest known first, then by identifier so that rows do not jump. */
export function worstFirst(a: Thing, b: Thing): number {
  return RANK[b.state] - RANK[a.state] || (isAbnormal(a.state) ? (a.at ?? '').localeCompare(b.at ?? '') : 0) || a.id.localeCompare(b.id)
}
