// Words of captions as colours: tgim/models/editing/painting/words.py.

import { clip } from "../python.js";
import tables from "../tables.js";

const { ISH, EVERYDAY, MISSPELT } = tables.colours;
const SUBJECTS = new Set([...tables.parts.BIRD, ...tables.parts.FLOWER]);
const NAMED = new Set(tables.colours.PLAIN);
const own = (table, word) => (Object.hasOwn(table, word) ? table[word] : undefined);

export const isShade = (word) => Object.hasOwn(tables.words.SHADES, word);

// A colour: one of the plain ones, lighter or darker (-1 to 1), stronger or weaker, towards another of them.
const colour = (name, light = 0, strong = 0, towards = "") => ({ name, light, strong, towards });

export function toText({ name, light, strong, towards }) {
  const shade = light < 0 ? "dark " : light > 0 ? "light " : strong > 0 ? "bright " : "";
  return `${shade}${towards ? `${towards}-` : ""}${name}`;
}

export function sameColour(a, b) {
  return a.name === b.name && a.light === b.light && a.strong === b.strong && a.towards === b.towards;
}

export function distinct(colours) {
  return colours.filter((each, i) => colours.findIndex((other) => sameColour(each, other)) === i);
}

// The colour that a word names; null if it names none.
export function colourOf(said) {
  const word = own(MISSPELT, said)?.[0] ?? said;
  const other = own(tables.words._OTHER, word);
  if (other) return other;
  if (NAMED.has(word)) return colour(word);
  if (own(ISH, word)) return colour(ISH[word], 0, -0.4);
  if (own(EVERYDAY, word) && !own(tables.parts.SYNONYMS, word) && !SUBJECTS.has(word)) return spelt(EVERYDAY[word]);
  return null;
}

function spelt(choices) {
  for (const choice of choices) {
    const shades = choice.split(" ");
    const last = shades.pop();
    let found = NAMED.has(last) ? colour(last) : own(tables.words._OTHER, last);
    if (!found) continue;
    for (const word of shades) found = isShade(word) ? shaded(found, [word]) : mixed(found, colourOf(word) ?? found);
    return found;
  }
  return null;
}

export function shaded(found, words) {
  return words.reduce((each, word) => {
    const [light, strong] = own(tables.words.SHADES, word) ?? [0, 0];
    return { ...each, light: clip(each.light + light, -1, 1), strong: clip(each.strong + strong, -1, 1) };
  }, found);
}

export function mixed(found, other) {
  return other.name === found.name ? found : { ...found, towards: other.name };
}
