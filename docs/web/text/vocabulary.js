// Words of captions, and those that an editor knows: tgim/text/vocabulary.py.

import { UserError, byCode, closeMatches, quoted } from "../python.js";
import tables from "../tables.js";

const UNSEEN = /[\u00ad\u200c\u200d\u2060\ufeff]/g;
export const { MAX_WORDS } = tables.vocabulary;
export const LETTER = "[\\p{L}\\p{N}_]"; // Python's \w

const isAscii = (text) => !/[^\0-\x7f]/.test(text);

export function tokenize(caption) {
  const text = isAscii(caption) ? caption : caption.normalize("NFC").replace(UNSEEN, "");
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}

export class Vocabulary {
  constructor(words) {
    this.words = words;
    this.known = new Set(words);
  }

  has(word) {
    return this.known.has(word);
  }

  // Whether each word of a text is known.
  hasAll(text) {
    return text.split(/\s+/).filter(Boolean).every((word) => this.known.has(word));
  }

  knows(text) {
    return tokenize(text).some((word) => this.known.has(word));
  }

  unknown(caption) {
    const missing = [...new Set(tokenize(caption))].filter((word) => !this.known.has(word));
    return new Map(missing.map((word) => [word, closeMatches(word, this.words, 3, 0.7)]));
  }

  // The caption stripped, if it can be used.
  check(caption) {
    const words = tokenize(caption);
    if (!words.length) {
      throw new UserError(
        `text ${quoted(caption)} has no words; describe the wanted picture, e.g. 'a red bird with black wings'`,
      );
    }
    if (words.length > MAX_WORDS) {
      throw new UserError(`text has ${words.length} words, at most ${MAX_WORDS} are used; shorten it to one sentence`);
    }
    if (!words.some((word) => this.known.has(word))) {
      const hints = [...new Set([...this.unknown(caption).values()].flat())].sort(byCode);
      const known = (hints.length ? hints : this.words.slice(0, 12)).join(", ");
      throw new UserError(`this model knows none of the words in ${quoted(caption)}; words that it knows: ${known}`);
    }
    return caption.trim();
  }
}
