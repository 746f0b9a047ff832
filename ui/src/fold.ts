/* Search that forgives: case, accents, the six apostrophes, and Latin or Cyrillic letters for the same word. */

const LATIN: Record<string, string> = {
  а: 'a', ә: 'a', б: 'b', в: 'v', г: 'g', ғ: 'g', д: 'd', е: 'e', ё: 'yo', ж: 'j', з: 'z', и: 'i', й: 'y', к: 'k', қ: 'q', л: 'l',
  м: 'm', н: 'n', ң: 'n', о: 'o', ө: 'o', п: 'p', р: 'r', с: 's', т: 't', у: 'u', ү: 'u', ў: 'o', ф: 'f', х: 'x', ҳ: 'h', ц: 's',
  ч: 'ch', ш: 'sh', щ: 'sh', ъ: '', ы: 'i', ь: '', э: 'e', ю: 'yu', я: 'ya', ı: 'i',
}

/** Return the text as it is compared: small Latin letters and figures, single spaces, no apostrophes. */
export function fold(text: string): string {
  const latin = text.normalize('NFC').toLowerCase().replace(/[\u0400-\u04ffı]/g, (letter) => LATIN[letter] ?? letter)
  return latin
    .normalize('NFD')
    .replace(/[\u0300-\u036f'`´‘’ʻʼ]/g, '')
    .replace(/[^a-z0-9]+/g, ' ')
    .trim()
}

/** Say whether every word of the folded question begins a word of the folded text. */
export function matches(folded: string, question: string): boolean {
  return question !== '' && question.split(' ').every((word) => ` ${folded}`.includes(` ${word}`))
}
