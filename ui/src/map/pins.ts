/* Signs on the map, drawn to canvas when the map first asks for one: `pin/ICON/STATE/own|far` and `cluster/COUNT/BAD/WORST`.
   A normal object is small and grey; an abnormal one is larger, filled, and has the shape of its state. */
import type { State } from '../api'
import { drawingOf } from '../icons'
import { isAbnormal, RANK, SHAPE } from '../states'

const DENSE = 2 // device pixels per page pixel in the drawings
const SIZE: Record<State, number> = { critical: 28, major: 27, minor: 22, advisory: 22, normal: 18, stale: 18, nodata: 14 }
const ICON_SIZE: Record<State, number> = { critical: 13, major: 11, minor: 14, advisory: 14, normal: 12, stale: 12, nodata: 0 }
const CLUSTER = 36

export type Palette = (name: string) => string

export interface Drawing {
  width: number
  height: number
  data: Uint8ClampedArray
}

function canvas(size: number): CanvasRenderingContext2D {
  const sheet = document.createElement('canvas')
  sheet.width = sheet.height = size * DENSE
  const pen = sheet.getContext('2d', { willReadFrequently: true })
  if (!pen) throw new Error('this browser draws no canvas')
  pen.scale(DENSE, DENSE)
  return pen
}

function taken(pen: CanvasRenderingContext2D): Drawing {
  return pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height)
}

function placed(path: string, box: number, size: number, middle: number, down = 0): Path2D {
  const whole = new Path2D()
  const scale = size / box
  whole.addPath(new Path2D(path), new DOMMatrix([scale, 0, 0, scale, middle - size / 2, middle - size / 2 + down]))
  return whole
}

function drawIcon(pen: CanvasRenderingContext2D, icon: string, size: number, middle: number, colour: string, down = 0): void {
  if (!size) return
  pen.lineWidth = size < 13 ? 1.15 : 1.25
  pen.lineCap = pen.lineJoin = 'round'
  pen.strokeStyle = colour
  pen.setLineDash([])
  const { path, box } = drawingOf(icon)
  pen.stroke(placed(path, box, size, middle, down))
}

/** A quiet pin: a ring with the system's icon; dashed when its reading is old, hatched when it is not measured here. */
function drawQuiet(pen: CanvasRenderingContext2D, state: State, icon: string, middle: number, palette: Palette): void {
  const radius = SIZE[state] / 2
  pen.beginPath()
  pen.arc(middle, middle, radius, 0, 2 * Math.PI)
  pen.fillStyle = palette('--map-pin')
  pen.fill()
  pen.lineWidth = state === 'normal' ? 1 : 1.5
  pen.strokeStyle = palette(state === 'normal' ? '--map-pin-edge' : '--stale')
  pen.setLineDash(state === 'normal' ? [] : [3, 2.2])
  pen.stroke()
  drawIcon(pen, icon, ICON_SIZE[state], middle, palette(state === 'normal' ? '--ink-2' : '--ink-3'))
}

function drawLoud(pen: CanvasRenderingContext2D, state: State, icon: string, middle: number, palette: Palette): void {
  const shape = placed(SHAPE[state], 16, SIZE[state], middle)
  pen.lineJoin = 'round'
  pen.lineWidth = 3
  pen.strokeStyle = palette('--map-halo')
  pen.stroke(shape)
  pen.fillStyle = palette(`--${state}`)
  pen.fill(shape)
  drawIcon(pen, icon, ICON_SIZE[state], middle, palette('--card'), state === 'major' ? 4 : 0)
}

function pin(icon: string, state: State, far: boolean, palette: Palette): Drawing {
  const size = far ? 40 : 34
  const pen = canvas(size)
  if (far) {
    pen.setLineDash([2, 2.5])
    pen.lineWidth = 1.5
    pen.strokeStyle = palette('--ink-2')
    pen.strokeRect(3, 3, size - 6, size - 6)
  }
  if (isAbnormal(state)) drawLoud(pen, state, icon, size / 2, palette)
  else drawQuiet(pen, state, icon, size / 2, palette)
  return taken(pen)
}

const byRank = (rank: number): State => (Object.entries(RANK).find(([, value]) => value === rank)?.[0] ?? 'normal') as State

/** Several objects at one spot: their number, an arc as long as the share of abnormal ones, the sign of the worst. */
function cluster(count: number, bad: number, worst: State, palette: Palette): Drawing {
  const pen = canvas(CLUSTER)
  const middle = CLUSTER / 2
  pen.beginPath()
  pen.arc(middle, middle, 13, 0, 2 * Math.PI)
  pen.fillStyle = palette('--map-pin')
  pen.fill()
  pen.lineWidth = 3
  pen.strokeStyle = palette('--edge')
  pen.stroke()
  if (bad) {
    pen.beginPath()
    pen.arc(middle, middle, 13, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * Math.max(0.12, bad / count))
    pen.strokeStyle = palette(`--${worst}`)
    pen.stroke()
  }
  pen.font = `600 12px ${palette('--font')}`
  pen.fillStyle = palette('--ink')
  pen.textAlign = 'center'
  pen.textBaseline = 'middle'
  pen.fillText(count > 999 ? '999+' : String(count), middle, middle + 0.5)
  if (isAbnormal(worst)) {
    pen.translate(22, 0)
    const sign = placed(SHAPE[worst], 16, 12, 7)
    pen.lineWidth = 3
    pen.strokeStyle = palette('--map-halo')
    pen.stroke(sign)
    pen.fillStyle = palette(`--${worst}`)
    pen.fill(sign)
  }
  return taken(pen)
}

/** Grey stripes for a unit that sends nothing. */
function hatch(palette: Palette): Drawing {
  const pen = canvas(8)
  pen.strokeStyle = palette('--map-faint')
  pen.lineWidth = 1.2
  for (const shift of [-8, 0, 8]) {
    pen.beginPath()
    pen.moveTo(shift, 8)
    pen.lineTo(shift + 8, 0)
    pen.stroke()
  }
  return taken(pen)
}

/** Return the drawing of that name, or null for a name that is none of ours. */
export function draw(name: string, palette: Palette): Drawing | null {
  const [kind, first = '', second = '', third = ''] = name.split('/')
  if (kind === 'pin') return pin(first, second as State, third === 'far', palette)
  if (kind === 'cluster') return cluster(Number(first), Number(second), byRank(Number(third)), palette)
  return kind === 'hatch' ? hatch(palette) : null
}

export const PIXEL_RATIO = DENSE
