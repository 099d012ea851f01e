// Captions as colour targets, a part and its colours each: tgim/models/editing/painting/captions.py.

import { quoted } from "../python.js";
import tables from "../tables.js";
import { colourOf, distinct, isShade, mixed, shaded, toText } from "./words.js";

const set = (words) => new Set(words);
const own = tables.captions;
const [LINKS, PLACES, DETERMINERS, RELATIVE] = [own._LINKS, own._PLACES, own._DETERMINERS, own._RELATIVE].map(set);
const [JOINTS, FILL, STOPS] = [own._JOINTS, own._FILL, tables.phrases.STOPS].map(set);
const { BIRD, FLOWER, PAINTED, PAINTED_TOGETHER } = tables.parts;
const [FLOWERS, WHOLE, PATTERNS, UNPAINTED] = [FLOWER, tables.parts.PAINTED_WHOLE, tables.parts.PATTERNS, tables.parts.UNPAINTED].map(set);
const FEATHERS = set(tables.parts.PAINTED_WHOLE.filter((word) => !BIRD.includes(word)));
const STAY = set([...tables.parts.NO_PLUMAGE, "stem", "leaves", "other"]); // when the whole subject changes
const COLOURING = ["color", "colour", "coloring", "all"];

// Targets {word, parts, colours, whole} of a caption, whole subjects before parts, and notes on the rest of it.
export function parseCaption(caption, parts) {
  const parser = new Parser(caption, parts.filter((part) => part !== "background"));
  parser.run();
  const found = [...parser.found.values()];
  return { targets: [...found.filter((each) => each.whole), ...found.filter((each) => !each.whole)], notes: parser.remarks() };
}

class Parser {
  constructor(caption, parts) {
    const text = caption.toLowerCase().replaceAll("-", " ").replaceAll("\u2019", "'");
    this.words = text.replace(/(?<![\p{L}\p{N}_])(bill|beak)(?=[\p{L}\p{N}_]{3})/gu, "$1 ").match(/[a-z0-9'_]+|[,;.&]/g) ?? [];
    this.parts = parts;
    this.flower = parts.includes("petals");
    this.subject = this.flower ? "flower" : "bird";
    this.found = new Map();
    this.bare = new Set(); // parts that were named
    this.notes = new Set();
    this.topic = []; // what the next "is", "are" speaks of
    this.linked = false;
  }

  run() {
    let i = 0;
    while (i < this.words.length) {
      const word = this.words[i];
      if (this.beginsColour(i)) {
        i = this.coloured(i);
      } else if (PATTERNS.has(word)) {
        this.pattern(word);
        i = this.afterPattern(i + 1);
      } else if (this.isNoun(word)) {
        i = this.nouns(i);
      } else if (LINKS.has(word)) {
        this.linked = this.topic.length > 0;
        i += 1;
      } else {
        if (["with", "has", "have", "having", "but", ";", ".", "while", "whose"].includes(word)) {
          this.linked = false;
          if ([";", ".", "while"].includes(word)) this.topic = [];
        }
        i += 1;
      }
    }
  }

  // Colours

  beginsColour(i) {
    let j = i;
    while (j < this.words.length && isShade(this.words[j])) j++;
    return j < this.words.length && colourOf(this.words[j]) !== null && !this.isNoun(this.words[j]);
  }

  // The colours that begin at word `i`, and where they end: "dark red and light blue green".
  colours(i) {
    const found = [];
    while (i < this.words.length && this.beginsColour(i)) {
      const [colour, end] = this.colour(i);
      found.push(colour);
      i = end;
      let j = i;
      while (j < this.words.length && (JOINTS.has(this.words[j]) || this.words[j] === "a")) j++;
      if (this.words.slice(i, j).includes("with") || !this.beginsColour(j) || this.ownPart(j)) break;
      i = j;
    }
    return [distinct(found), i];
  }

  colour(i) {
    const shades = [];
    while (isShade(this.words[i])) shades.push(this.words[i++]);
    let [colour, before] = [colourOf(this.words[i]) ?? { name: "gray", light: 0, strong: 0, towards: "" }, null];
    i += 1;
    while (i < this.words.length) {
      const after = colourOf(this.words[i]);
      if (!after || this.isNoun(this.words[i])) break;
      const plain = [colour.name, after.name].some((name) => name === "black" || name === "white");
      if (plain && !this.words[i - 1].endsWith("ish")) break; // "black white and brown" are three
      [before, colour] = [colour, after];
      i += 1;
    }
    return [shaded(before === null ? colour : mixed(colour, before), shades), i];
  }

  // Whether the colours at `i` stand before a part of their own: "yellow, with a black crown".
  ownPart(i) {
    return this.words[i - 1] === "a" || (this.words[i - 1] === "," && this.linked);
  }

  // Colours and what they are of; returns where to go on.
  coloured(i) {
    const [colours, end] = this.colours(i);
    let [j, skipped] = [end, 0];
    while (j < this.words.length && (FILL.has(this.words[j]) || isShade(this.words[j]))) j++;
    if (PATTERNS.has(this.words[j])) {
      this.pattern([...this.words.slice(i, end), this.words[j]].join(" "));
      return this.afterPattern(j + 1);
    }
    while (j < this.words.length && skipped <= own._MOST && !this.isNoun(this.words[j])) {
      const word = this.words[j];
      if (STOPS.has(word) || LINKS.has(word) || ",;.&".includes(word) || this.beginsColour(j)) break;
      if (PATTERNS.has(word)) {
        this.pattern(this.words.slice(i, j + 1).join(" "));
        return this.afterPattern(j + 1);
      }
      j++;
      skipped++;
    }
    if (j < this.words.length && this.isNoun(this.words[j])) return this.of(colours, j, false);
    const place = this.place(end);
    if (place) return this.of(colours, place, true);
    this.told(colours, i);
    return end;
  }

  // Colours before a noun at `j` (and those joined to it).
  of(colours, j, joined) {
    let [nouns, end] = this.joinedNouns(j);
    if (!joined && PATTERNS.has(this.words[end])) {
      if (nouns.length > 1) {
        this.target(nouns.slice(0, -1), colours);
        j = this.lastStart(j, end) + 1;
      }
      this.pattern(this.words.slice(j - 1, end + 1).join(" ")); // "black wing bars"
      return this.afterPattern(end + 1);
    }
    const after = this.words.slice(end, end + 3).filter((word) => !RELATIVE.has(word)).slice(0, 2);
    if (nouns.length > 1 && after.length && LINKS.has(after[0]) && colourOf(after.at(-1))) {
      end = this.lastStart(j, end); // "a red head and wings are black"
      nouns = nouns.slice(0, -1);
    }
    const place = FEATHERS.has(nouns.at(-1)) && this.place(end);
    if (!joined && place) return this.of(colours, place, true); // "red feathers on its head"
    this.target(nouns, colours);
    [this.topic, this.linked] = [nouns, false];
    return end;
  }

  // Colours without a noun after them: "the wings are black", "yellow with black wings".
  told(colours, i) {
    const before = i >= 1 && ["in", "of", "being", "colored", "color"].includes(this.words[i - 1]);
    if (this.topic.length && (this.linked || before)) this.target(this.topic, colours);
    else if (!this.found.size || (this.topic.length && this.whole(this.topic.at(-1)))) this.target([this.subject], colours);
  }

  // Index of the part in "(yellow) on its belly"; 0 if there is none.
  place(i) {
    const first = this.words[i];
    if (i >= this.words.length || !(PLACES.has(first) || first === "feathers" || COLOURING.includes(first))) return 0;
    let j = i;
    while (j < this.words.length &&
      (PLACES.has(this.words[j]) || DETERMINERS.has(this.words[j]) || COLOURING.includes(this.words[j]))) j++;
    const found = j < this.words.length && this.isNoun(this.words[j]) && !UNPAINTED.has(this.words[j]);
    return found && this.words[j - 1] !== "to" ? j : 0;
  }

  // Nouns

  isNoun(word) {
    if (word === this.subject) return true;
    if (FLOWERS.has(word)) return this.flower;
    return Object.hasOwn(PAINTED, word) || Object.hasOwn(PAINTED_TOGETHER, word) || UNPAINTED.has(word) || WHOLE.has(word);
  }

  // Nouns joined from word `i` on, and where they end: "head, breast and the belly".
  joinedNouns(i) {
    const nouns = [this.words[i]];
    i += 1;
    while (i < this.words.length) {
      if (this.isNoun(this.words[i])) { // "wing feathers" is one, "head wings and tail" are several
        if (this.whole(nouns.at(-1))) nouns[nouns.length - 1] = this.words[i];
        else if (!this.whole(this.words[i])) nouns.push(this.words[i]);
        i += 1;
        continue;
      }
      let j = i;
      while (j < this.words.length && ([",", "and", "or", "&", "plus"].includes(this.words[j]) ||
        (j > i && DETERMINERS.has(this.words[j]) && !["a", "an", "of", "that"].includes(this.words[j])))) j++;
      if (j === i || j >= this.words.length || !this.isNoun(this.words[j]) || this.whole(nouns.at(-1))) break;
      nouns.push(this.words[j]);
      i = j + 1;
    }
    return [nouns, i];
  }

  lastStart(start, end) {
    let k = end - 1;
    while (k > start && !this.isNoun(this.words[k])) k--;
    return k;
  }

  // Nouns before which no colour stands.
  nouns(i) {
    let [nouns, end] = this.joinedNouns(i);
    let j = i - 1;
    while (j > 0 && i - j < own._MOST &&
      !(STOPS.has(this.words[j]) && (this.words[j] === "of" || !DETERMINERS.has(this.words[j])))) j--;
    const of = j >= 0 && this.words[j] === "of";
    if (of && this.topic.length && this.whole(nouns[0]) && !this.linked) return end; // "the head of this small bird"
    j = end;
    if (j + 1 < this.words.length && ["of", "on"].includes(this.words[j]) && DETERMINERS.has(this.words[j + 1])) {
      j += 2;
      if (j < this.words.length && this.whole(this.words[j])) end = j + 1;
    }
    for (const noun of nouns) this.bare.add(noun);
    [this.topic, this.linked] = [nouns, false];
    return end;
  }

  whole(word) {
    return WHOLE.has(word) || (this.flower && FLOWERS.has(word)) || word === this.subject;
  }

  target(nouns, colours) {
    for (let word of nouns) {
      if (UNPAINTED.has(word)) {
        this.notes.add(`${quoted(word)} keeps its colour: it is too small to be painted`);
        continue;
      }
      if (!colours.length) continue;
      if (this.flower && PAINTED[word] === "leaves" && colours[0].name !== "green") word = "petals";
      const whole = this.whole(word) && !this.flower;
      const parts = this.partsOf(word, whole);
      if (!parts.length) {
        this.notes.add(`${quoted(word)} is left out: the parts that are found are ${this.parts.join(", ")}`);
        continue;
      }
      const key = whole ? "bird" : parts.join(",");
      if (this.found.has(key)) colours = [...this.found.get(key).colours, ...colours];
      this.found.set(key, { word, parts, colours: distinct(colours), whole });
    }
  }

  partsOf(word, whole) {
    if (whole) return this.parts.filter((part) => !STAY.has(part));
    const wanted = PAINTED_TOGETHER[word] ?? [PAINTED[word] ?? word];
    return wanted.filter((part) => this.parts.includes(part));
  }

  // What is not painted

  pattern(phrase) {
    this.notes.add(`${quoted(phrase)} is left out: patterns are not painted`);
    [this.topic, this.linked] = [[], false];
  }

  // Past the part that a pattern is on: "speckled breast", "white spots on its wings".
  afterPattern(i) {
    let j = i;
    if (j + 1 < this.words.length && this.words[j] === "of" && this.beginsColour(j + 1)) j = this.colours(j + 1)[1];
    while (j < this.words.length && (PLACES.has(this.words[j]) || DETERMINERS.has(this.words[j]) ||
      PATTERNS.has(this.words[j]) || this.words[j] === "and")) j++;
    if (j < this.words.length && this.isNoun(this.words[j]) && !this.words.slice(i, j).includes("and")) {
      const [nouns, end] = this.joinedNouns(j);
      for (const noun of nouns) this.bare.add(noun);
      this.topic = [];
      return end;
    }
    return Math.max(i, j > i && colourOf(this.words[j - 1]) ? j : i);
  }

  remarks() {
    const notes = [...this.notes];
    for (const { word, colours } of this.found.values()) {
      if (colours.length < 2) continue;
      const [first, ...rest] = colours.map(toText);
      notes.push(`${quoted(word)} becomes ${first}, not ${rest.join(" or ")} too: ${own.ONE_COLOUR}`);
    }
    const painted = new Set([...this.found.values()].filter((each) => !each.whole).flatMap((each) => each.parts));
    for (const word of this.bare) {
      const parts = UNPAINTED.has(word) || this.whole(word) ? [] : this.partsOf(word, false);
      if (parts.length && !parts.some((part) => painted.has(part))) {
        notes.push(`${quoted(word)} stays as it is: no colour is said of it`);
      }
    }
    return notes;
  }
}
