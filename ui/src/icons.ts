/* Our icons, each one path in a box of 20 x 20, and those that systems bring, drawn with a line: in the page by Icon.svelte, on the
   map by map/pins.ts. */

export const ICONS = {
  device: 'M6 6h8v8H6zM8 3v3M12 3v3M8 14v3M12 14v3M3 8h3M3 12h3M14 8h3M14 12h3',
  metro: 'M3 15.5 7 4.5l3 7.5 3-7.5 4 11M1.8 15.5h3.6M14.6 15.5h3.6',
  elsewhere: 'M10 17.2c3.4-3.9 5-6.6 5-9.2a5 5 0 0 0-10 0c0 2.6 1.6 5.3 5 9.2zM3 17.2h3M14 17.2h3',
  situation: 'M3 4h14v9.5H3zM7.5 17h5M10 13.5V17M5.5 10l2.5-2.6 2 2 4.4-3.6',
  wall: 'M3 7V4h3M14 4h3v3M17 13v3h-3M6 16H3v-3M7 8h6v4H7z',
  house: 'M3.5 9.5 10 4l6.5 5.5M5.3 8.2V16h9.4V8.2M8.5 16v-4h3v4',
  search: 'M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4',
  close: 'M5 5l10 10M15 5 5 15',
  plus: 'M10 4.5v11M4.5 10h11',
  minus: 'M4.5 10h11',
  city: 'M10 5.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10 2.5v3M10 14.5v3M2.5 10h3M14.5 10h3',
  down: 'M5.5 8 10 12.5 14.5 8',
  lost: 'M3 3l14 14M6.5 13.2a5 5 0 0 1 4.2-1.3M3.8 9.8a9 9 0 0 1 3.4-2.1M11 7.1a9 9 0 0 1 5.2 2.7M10 16h.01',
  about: 'M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM10 9.2V14M10 6.2v.1',
  chart: 'M3 16.5h14M4 13l3.5-4 3 2.5L16 5',
} as const

export type IconName = keyof typeof ICONS

/** A drawing: one path in a square box of that size. */
export interface Drawn {
  path: string
  box: number
}

// A system brings its icon as a path in a box of 24; anything that is no path is drawn as a chip.
const SYSTEM_BOX = 24
const PATH = /^[Mm][-+.,\s\dA-Za-z]+$/

/** The drawing of one of our icons by its name, or of a system's icon by its path. */
export function drawingOf(icon: string): Drawn {
  if (icon in ICONS) return { path: ICONS[icon as IconName], box: 20 }
  return PATH.test(icon) ? { path: icon, box: SYSTEM_BOX } : { path: ICONS.device, box: 20 }
}
