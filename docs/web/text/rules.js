// Rules for what people write around colours and parts: those of tgim/text/rules.py, word for word.

import tables from "../tables.js";
import { Grammar } from "./grammar.js";

const own = tables.rules;
const { COLOUR_WORDS, SHADES } = tables.colours;
const { BIRD, FLOWER, PART_WORDS } = tables.parts;

const begins = (word, starts) => starts.some((each) => word.startsWith(each));
const NUMBERS = new Set(own.NUMBERS);

export const MARKS = new Set(own.MARKS);
export const RULES = new Grammar(own.NOTATION, {
  DO: new Set(own.VERBS),
  KEEP: new Set(own.KEEPING),
  TAKE: new Set(own.TAKING),
  FIRST: new Set(own.LISTS.FIRST),
  DOING: (word) => begins(word, own.BEGINNINGS.DOING),
  TOUCH: (word) => begins(word, own.BEGINNINGS.TOUCH),
  LOSE: (word) => begins(word, own.BEGINNINGS.LOSE),
  MAKING: (word) => begins(word, own.BEGINNINGS.MAKING),
  COLOUR: new Set(COLOUR_WORDS),
  SHADE: new Set(SHADES),
  PART: new Set(PART_WORDS),
  SUBJECT: new Set([...BIRD, ...FLOWER]),
  NUMBER: (word) => NUMBERS.has(word) || (word !== "1" && /^[1-9]\p{Nd}?$/u.test(word)),
  MARK: MARKS,
  BLANK: new Set([" "]),
  WORD: (word) => /^[\p{L}\p{N}_]+$/u.test(word),
  OWNER: (word) => word.endsWith("'s") && word !== "it's",
});
