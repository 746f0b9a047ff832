import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

// `npm run dev` shows the page with a running `shahar demo` behind it; set SHAHAR_AT when it listens elsewhere.
const shahar = process.env.SHAHAR_AT ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [svelte()],
  base: '/ops/static/',
  // The map draws in a worker that is a file of its own; it must be a module and end in .js so that every server knows its type.
  worker: { format: 'es', rolldownOptions: { output: { entryFileNames: 'assets/[name]-[hash].js' } } },
  build: {
    outDir: '../src/shahar/web/static/ops',
    emptyOutDir: true,
    target: 'es2022',
    // maplibre-gl is one chunk of about 1 MB, loaded after the tiles and the list are on the page.
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { '/ops/api': shahar, '/ops/map': shahar } },
})
