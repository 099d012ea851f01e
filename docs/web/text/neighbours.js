// A known word for one that a vocabulary lacks: tgim/text/neighbours.py.

import { alike, byCode, closeMatches } from "../python.js";
import tables from "../tables.js";

const { EVERYDAY, MISSPELT, PREFIXES, SPELLING } = tables.colours;
const { SPECIES, SYNONYMS } = tables.parts;
const COLOURS = new Set(tables.colours.COLOUR_WORDS);
const CAPTION_COLOURS = new Set(tables.colours.CAPTION_COLOURS);
const CAPTION_PARTS = new Set(tables.parts.CAPTION_PARTS);
const COMMON = new Set(tables.neighbours._COMMON);
const NOUNS_AND_COLOURS = [...new Set([...COLOURS, ...tables.parts.PART_WORDS])].sort(byCode);
const ALL = [...new Set([...NOUNS_AND_COLOURS, ...tables.colours.SHADES])].sort(byCode);
const PLAIN = new Set(Object.keys(EVERYDAY).filter((word) => CAPTION_COLOURS.has(word) || word.length > 5));

const own = (table, word) => (Object.hasOwn(table, word) ? table[word] : undefined);

// One or two known words in place of an unknown one; empty where there are none.
export function neighbour(word, vocabulary) {
  for (const each of candidates(word, vocabulary)) {
    if (each !== word && vocabulary.hasAll(each)) return each;
  }
  return "";
}

function* candidates(word, vocabulary) {
  yield* meanings(word);
  yield* forms(word);
  for (const stem of forms(word)) yield* meanings(stem);
  for (const shade of PREFIXES) {
    const colour = word.slice(shade.length);
    if (word.startsWith(shade) && COLOURS.has(colour)) yield* [`${shade} ${colour}`, colour];
  }
  const colour = stemOfColour(word);
  if (colour) yield* [colour, ...meanings(colour)];
  const spelt = spelling(word, vocabulary);
  if (spelt) yield* [spelt, ...meanings(spelt)];
}

function* meanings(word) {
  if (own(SPELLING, word)) yield SPELLING[word];
  for (const table of [MISSPELT, EVERYDAY, SYNONYMS]) yield* own(table, word) ?? [];
  for (const [subject, names] of Object.entries(SPECIES)) if (names.includes(word)) yield subject;
}

function* forms(word) {
  if (word.endsWith("ies") && word.length > 4) yield `${word.slice(0, -3)}y`;
  if (word.endsWith("es") && word.length > 4) yield word.slice(0, -2);
  if (word.endsWith("s") && !word.endsWith("ss") && word.length > 3) yield word.slice(0, -1);
  else if (word.length > 2 && /^\p{L}+$/u.test(word)) yield `${word}s`;
}

function stemOfColour(word) {
  for (const ending of ["ish", "er", "est", "y"]) {
    if (!word.endsWith(ending)) continue;
    const stem = word.slice(0, -ending.length);
    const found = [stem, `${stem}e`, stem.slice(0, -1)].find((each) => COLOURS.has(each));
    if (found) return found;
  }
  return "";
}

const sorted = (word) => [...word].sort(byCode).join("");

function spelling(word, vocabulary) {
  if (word.length < 4 || COMMON.has(word)) return "";
  const heard = ALL.filter((each) => sorted(each.slice(0, 2)) === sorted(word.slice(0, 2)));
  heard.push(...NOUNS_AND_COLOURS.filter((each) => each[0] === word[0]));
  const fit = [...new Set(heard)].filter((each) => Math.abs(each.length - word.length) <= 2);
  const usable = fit.filter((each) => vocabulary.hasAll(each) || PLAIN.has(each));
  const close = closeMatches(word, usable, 5, 0.75).filter((each) => slip(word, each));
  return close.find((each) => CAPTION_COLOURS.has(each) || CAPTION_PARTS.has(each)) ?? close[0] ?? "";
}

// Whether one slip lies between two words: letters swapped, one lost or too many; in long words two.
function slip(word, meant) {
  if (word.length === meant.length && sorted(word) === sorted(meant)) return true;
  const same = alike(word, meant);
  const [short, long] = [Math.min(word.length, meant.length), Math.max(word.length, meant.length)];
  if (long - short === 1 && same === short) return true;
  return short > 5 && long - same <= 2;
}
