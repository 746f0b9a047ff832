/* Every icon as one path in a box of 20 x 20, drawn with a line: in the page by Icon.svelte, on the map by map/pins.ts. */

export const ICONS = {
  air: 'M3 7.5h8a2.3 2.3 0 1 0-2.2-3M3 10.5h12.2a2.3 2.3 0 1 1-2.1 3.2M3 13.5h5.4a1.9 1.9 0 1 1-1.8 2.6',
  weather: 'M7.2 4V2.6M3.9 5.4l-1-1M10.5 5.4l1-1M2.6 8.6h1.3M5 10.3A3 3 0 1 1 10 7.6M7 16.5h7.2a2.9 2.9 0 0 0 .3-5.8 4 4 0 0 0-7.6 1 2.5 2.5 0 0 0 .1 4.8z',
  buildings: 'M4 17V4.5L11 3v14M11 8l5 1.5V17M2.5 17h15M6.5 7.5h2M6.5 10.5h2M6.5 13.5h2M13.3 12.5h.6',
  water: 'M10 2.8c3 3.5 4.9 6 4.9 8.8a4.9 4.9 0 0 1-9.8 0c0-2.8 1.9-5.3 4.9-8.8zM7.6 12a2.5 2.5 0 0 0 2.2 2.4',
  heat: 'M8 11.4V4.6a2 2 0 1 1 4 0v6.8a3.6 3.6 0 1 1-4 0zM10 8v6',
  power: 'M11.2 2.6 4.8 11.4h4.4l-.6 6 6.6-9h-4.6z',
  light: 'M7.4 14.2c0-1.7-2.6-2.7-2.6-5.9a5.2 5.2 0 0 1 10.4 0c0 3.2-2.6 4.2-2.6 5.9zM8 17.2h4',
  irrigation: 'M3 6c2.3-1.8 4.7 1.8 7 0s4.7-1.8 7 0M3 11c2.3-1.8 4.7 1.8 7 0s4.7-1.8 7 0M3 16c2.3-1.8 4.7 1.8 7 0s4.7-1.8 7 0',
  mobility: 'M4 15.5v-4l1.8-5h8.4l1.8 5v4zM4 11.5h12M6.4 15.5V17M13.6 15.5V17M6.7 13.5h.6M12.7 13.5h.6',
  waste: 'M4 6h12M8 6V3.8h4V6M5.4 6l.8 10.8h7.6L14.6 6M8.4 9v5M11.6 9v5',
  telecom: 'M10 9.5V17M7 17h6M10 9.2a.9.9 0 1 0 0-1.8.9.9 0 0 0 0 1.8zM6.8 11.3a4.2 4.2 0 0 1 0-6M13.2 5.3a4.2 4.2 0 0 1 0 6M4.4 13.4a7.2 7.2 0 0 1 0-10.2M15.6 3.2a7.2 7.2 0 0 1 0 10.2',
  reports: 'M3.5 4h13v9.5H9L5.5 17v-3.5h-2zM7 7.5h6M7 10.3h4',
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
  chart: 'M3 16.5h14M4 13l3.5-4 3 2.5L16 5',
} as const

export type IconName = keyof typeof ICONS

const SPOKEN: Record<string, IconName> = {
  'building': 'buildings', 'drop': 'water', 'thermometer': 'heat', 'energy': 'power', 'electricity': 'power', 'lighting': 'light',
  'traffic': 'mobility', 'car': 'mobility', 'network': 'telecom',
}

/** The icon a system asked for; a chip for one we have no drawing of. */
export function iconNamed(name: string): IconName {
  return name in ICONS ? (name as IconName) : (SPOKEN[name] ?? 'device')
}
