// Fails unless every language says every word: the same keys, the same {names} in each text, all plural forms a language has;
// and when a word is said nowhere.
import { readdirSync, readFileSync } from 'node:fs'

const LANGUAGES = ['uz', 'uz-Cyrl', 'ru', 'kaa', 'en']
const FORMS = { ru: 3, en: 2 } // the other three have one form after a number
const faults = []
const read = (tag) => JSON.parse(readFileSync(new URL(`../src/words/${tag}.json`, import.meta.url), 'utf8'))
const names = (text) => [...new Set([...text.matchAll(/\{(\w+)/g)].map((found) => found[1]))].sort().join(' ')

const words = Object.fromEntries(LANGUAGES.map((tag) => [tag, read(tag)]))
const keys = new Set(LANGUAGES.flatMap((tag) => Object.keys(words[tag])))
for (const tag of LANGUAGES) {
  for (const key of keys) {
    const text = words[tag][key]
    if (typeof text !== 'string' || !text.trim()) {
      faults.push(`${tag}: ${key} is missing`)
      continue
    }
    if (names(text) !== names(words.uz[key] ?? '')) faults.push(`${tag}: ${key} names {${names(text)}}, uz {${names(words.uz[key] ?? '')}}`)
    for (const [, forms] of text.matchAll(/\{\w+:([^}]*)\}/g)) {
      if (forms.split('|').length !== (FORMS[tag] ?? 1)) faults.push(`${tag}: ${key} needs ${FORMS[tag] ?? 1} plural forms`)
    }
    if (/[‘’`']/.test(text)) faults.push(`${tag}: ${key} has a quotation mark where U+02BB or U+02BC belongs`)
  }
}
const COMPOSED = /^(state|age|month)\./ // put together from a part that is not in the source
const source = new URL('../src/', import.meta.url)
const written = readdirSync(source, { recursive: true }).filter((name) => /\.(ts|svelte)$/.test(name)).map((name) => readFileSync(new URL(name.replaceAll('\\', '/'), source), 'utf8')).join('')
for (const key of keys) if (!COMPOSED.test(key) && !written.includes(`'${key}'`)) faults.push(`${key} is said nowhere`)

for (const fault of faults) console.error(fault)
console.log(`words: ${keys.size} keys in ${LANGUAGES.length} languages, ${faults.length} faults`)
process.exit(faults.length ? 1 : 0)
