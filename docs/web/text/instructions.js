// Instructions ("make its head red") as captions: tgim/text/instructions.py.

import tables from "../tables.js";
import { MARKS, RULES } from "./rules.js";

const own = tables.instructions;
const { BIRD, FLOWER } = tables.parts;
const set = (...lists) => new Set(lists.flat());
const [ACTING, ADDING, FILLING, LINKS] = [own.ACTING, own.ADDING, own.FILLING, own.LINKS].map((each) => set(each));
const [JOINTS, BREAKS, PLACES, DEFINITE] = [own.JOINTS, own.BREAKS, own.PLACES, own.DEFINITE].map((each) => set(each));
const [FILLERS, SMALL, ENDS, NOUNS] = [own.FILLERS, own.SMALL, own.ENDS, own.NOUNS].map((each) => set(each));
const WHOLE = set(own.WHOLE, BIRD, FLOWER);
const COLOURS = set(tables.colours.COLOUR_WORDS);
const COLOURS_AND_SHADES = set(tables.colours.COLOUR_WORDS, tables.colours.SHADES);
const [PLURAL, UNCOUNTED] = [set(tables.parts.PLURAL), set(tables.parts.UNCOUNTED)];
const MISSPELT = new Map(Object.entries(tables.colours.MISSPELT));
const CONTRACTIONS = new Map(Object.entries(own.CONTRACTIONS));
export const { SPARING, NO_NEGATION } = own;

const fits = (rule, words, at) => Boolean(RULES.match(rule, words, at)); // at least one word
const coloured = (words) => words.some((word) => COLOURS.has(word));
export const split = (text) => text.split(/\s+/).filter(Boolean);
const beginsWithVowel = (text) => "aeiou".includes(text[0]);

// A text as lower-case words and marks, one blank between them, contractions written out.
export function normal(text) {
  const words = text.toLowerCase().replaceAll("\u2019", "'").match(/[\p{L}\p{N}_]+(?:'[\p{L}\p{N}_]+)*|[,;:.!?]/gu) ?? [];
  return words.map((word) => CONTRACTIONS.get(word) ?? writtenOut(word)).join(" ");
}

function writtenOut(word) {
  const ending = Object.keys(own.ENDINGS).find((each) => word.endsWith(each));
  return ending ? `${word.slice(0, -ending.length)} ${own.ENDINGS[ending]}` : word;
}

export function isInstruction(text) {
  const words = split(normal(text));
  const [asked, rest] = withoutRequest(words);
  return asked || RULES.find("SHOULD", words) !== null || fits("ORDER", rest) || RULES.find("PROTECT", words) !== null;
}

// Whether politeness and requests stand around the words, and the rest of them.
function withoutRequest(words) {
  const plain = stripped(RULES.rewrite("POLITE", words, () => []), ",");
  const start = RULES.match("GREETING", plain) ?? 0;
  const end = RULES.match("REQUEST", plain, start) ?? 0;
  const rest = plain.slice(end);
  const asked = end > start || RULES.find("POLITE", words) !== null;
  return [asked, stripped(rest.slice(RULES.match("GREETING", rest) ?? 0), ",.!?")];
}

function stripped(words, marks) {
  let [first, last] = [0, words.length];
  while (first < last && marks.includes(words[first])) first++;
  while (last > first && marks.includes(words[last - 1])) last--;
  return words.slice(first, last);
}

const colours = (group) => (group.after.length ? group.after : group.before);
const whole = (group, subject) =>
  group.parts.length > 0 && group.parts.every((part) => WHOLE.has(part) || part === subject);
const newGroup = (parts, before = [], after = []) => ({ parts, before, after, place: "" });

// The caption that an instruction asks for; empty when it asks for nothing that is to be seen.
export function captionOf(text, subject, notes) {
  const words = withoutRequest(split(normal(text)))[1].map((word) => MISSPELT.get(word)?.[0] ?? word);
  let opening = "";
  const groups = [];
  for (const clause of clauses(words, notes)) {
    if (opening || groups.length || RULES.match("PLAIN", clause) === null) {
      groups.push(...grouped(phrases(rewritten(clause))));
    } else {
      opening = clause.join(" ");
    }
  }
  return written(opening, groups, subject);
}

// The clauses to follow; those that say what to leave alone, or what not to do, become notes.
function clauses(words, notes) {
  for (const [start, end] of RULES.findAll("ALL-BUT", words)) {
    notes.push([words.slice(start + 1, end).join(" "), `is left out: ${SPARING}`]);
  }
  const followed = [];
  let reason = "";
  for (const clause of cut(RULES.rewrite("ALL-BUT", words, (found) => found.slice(0, 1)))) {
    reason = reasonOf(clause, reason);
    if (reason) {
      notes.push([clause.join(" "), `is left out: ${reason}`]);
    } else {
      const leftOut = RULES.match("BUT-FOR", clause);
      followed.push(leftOut === null ? clause : ["with", ...clause.slice(leftOut)]);
    }
  }
  return followed;
}

function cut(words) {
  const found = [[]];
  let i = 0;
  while (i < words.length) {
    let end = RULES.match("STOP", words, i);
    if (end === null && found.at(-1).length) {
      end = RULES.match("CUT", words, i);
      if (end === null && !["do", "not"].includes(words[i - 1]) && fits("FORBIDDEN", words, i)) end = i;
    }
    if (end !== null) {
      found.push([]);
      i = end;
    }
    if (end === null || (i < words.length && !MARKS.has(words[i]))) {
      found.at(-1).push(words[i]);
      i += 1;
    }
  }
  return found.filter((clause) => clause.length);
}

// The reason why a clause is not followed; empty for one that is.
function reasonOf(clause, before) {
  const named = coloured(clause);
  if (fits("KEPT", clause)) return named ? "" : SPARING;
  if (fits("UNTOUCHED", clause)) return SPARING;
  if (fits("UNWANTED", clause)) return named || fits("UNDONE", clause) ? NO_NEGATION : SPARING;
  if (fits("TAKEN", clause) || RULES.find("LESS", clause)) return NO_NEGATION;
  return !named && !fits("DEED", clause) ? before : "";
}

function rewritten(clause) {
  let words = RULES.rewrite("MODAL", clause, (found) =>
    ["have", "has", "show"].includes(found.at(-1)) ? ["have"] : ["be"]);
  for (const rule of ["COLOUR-OF", "OF-IT"]) words = RULES.rewrite(rule, words, () => []);
  words = RULES.rewrite("AS-AS", words, (found) => found.slice(1, 2));
  words = RULES.rewrite("LIKE", words, () => []);
  words = RULES.rewrite("OWNER", words, () => ["the"]);
  words = RULES.rewrite("FROM", words, () => []);
  const end = RULES.match("GIVE-IT", words);
  return end === null ? words : ["give", ...words.slice(end)];
}

function phrases(clause) {
  const found = [];
  let small = [];
  let i = 0;
  while (i < clause.length) {
    const word = clause[i];
    const acting = ACTING.has(word) &&
      (i === 0 || JOINTS.has(clause[i - 1]) || ["make", "give", "have"].includes(word));
    if (SMALL.has(word) || acting || (found.length && PLACES.has(word))) {
      small.push(word);
      i += 1;
      continue;
    }
    let end = i;
    while (end < clause.length && !ENDS.has(clause[end])) end++;
    const words = clause.slice(i, end).filter((each) => !FILLERS.has(each));
    found.push(phrase(words, small, !found.length, clause[0]));
    [small, i] = [[], end];
  }
  return found;
}

// Make a phrase of words after small words, in a clause that begins with `verb`.
function phrase(words, small, first, verb) {
  const isPlace = (word) => PLACES.has(word) || (ADDING.has(verb) && ["to", "into"].includes(word));
  const isLink = (word) => LINKS.has(word) || (FILLING.has(verb) && word === "with");
  let [place, linked, joined, definite] = ["", false, false, false];
  for (const word of small) {
    if (isPlace(word) && !first) {
      place = word;
    } else {
      linked = linked || isLink(word);
      joined = JOINTS.has(word) || (joined && !BREAKS.has(word));
      definite = definite || DEFINITE.has(word);
    }
  }
  const places = [...words.keys()];
  let nouns = places.filter((i) => NOUNS.has(words[i]) && !COLOURS.has(words[i]));
  if (!nouns.length && (first || !linked)) {
    nouns = places.filter((i) => !COLOURS_AND_SHADES.has(words[i])).slice(-1);
  }
  const [begin, end] = nouns.length ? [nouns[0], nouns.at(-1) + 1] : [words.length, words.length];
  place = place && definite ? `${place} the` : place;
  return { before: words.slice(0, begin), noun: words.slice(begin, end).join(" "), after: words.slice(end), linked, joined, place };
}

// Assign to each part of one clause what is said of it.
function grouped(found) {
  const groups = [];
  for (const each of found) {
    if (!groups.length) groups.push(newGroup(each.noun ? [each.noun] : [], each.before, each.after));
    else if (!each.noun) say(each, groups);
    else if (each.place) putAt(each, groups.at(-1));
    else name(each, groups);
  }
  return groups;
}

function say(each, groups) {
  const [last, said] = [groups.at(-1), each.before];
  if (each.linked && !last.parts.length) last.before = said;
  else if (each.place) last.after = [...last.after, ...said];
  else if (!last.parts.length) last.before = [...last.before, ...(each.joined ? ["and", ...said] : said)];
  else if (last.after.length || each.linked || !last.before.length) {
    last.after = [...last.after, ...(each.joined && last.after.length ? ["and", ...said] : said)];
  } else groups.push(newGroup([], said));
}

function putAt(each, last) {
  if (last.parts.length) {
    last.place += ` ${[each.place, ...each.before, each.noun].join(" ")}`;
    last.after = [...last.after, ...each.after];
  } else {
    [last.parts, last.after] = [[each.noun], []];
  }
}

function name(each, groups) {
  let last = groups.at(-1);
  if (each.linked && last.parts.length && !last.after.length) {
    groups.pop();
    last = groups.at(-1);
  }
  if (last && each.joined) {
    if (!last.parts.length) {
      [last.parts, last.before, last.after] = [[each.noun], [...last.before, "and", ...each.before], each.after];
      return;
    }
    const shares = !each.before.length && !whole(last, "");
    if (shares && !colours(last).length) {
      last.parts.push(each.noun);
      last.after = each.after;
      return;
    }
    if (shares && !each.after.length && !last.after.length) {
      last.parts.push(each.noun);
      return;
    }
  }
  groups.push(newGroup([each.noun], each.before, each.after));
}

// Groups as one caption, or as one phrase without a subject.
function written(opening, groups, subject) {
  const said = groups.filter((group) => colours(group).length || (group.parts.length && !whole(group, subject)));
  if (!opening && !said.some((group) => colours(group).length)) return "";
  const [told, found] = [[], []];
  let waiting = [];
  for (const group of said) {
    if (!group.parts.length || whole(group, subject)) {
      if (colours(group).length) told.push(colours(group).join(" "));
    } else if (!colours(group).length) {
      waiting.push(group);
    } else {
      const shared = waiting.map((each) => (group.after.length ? newGroup(each.parts, each.before, group.after) : each));
      found.push(...[...shared, group].map(nounPhrase));
      waiting = [];
    }
  }
  found.push(...waiting.map(nounPhrase));
  const has = [found.slice(0, -1).join(", "), ...found.slice(-1)].filter(Boolean).join(" and ");
  if (!subject) return [opening, ...told, has].filter(Boolean).join(" and ").replace(/^an /, "").replace(/^a /, "");
  const start = opening || (told.length ? `this ${subject} is ${told.join(" and ")}` : "");
  if (!has) return start;
  if (!start) return `this ${subject} has ${has}`;
  return `${start} ${start.includes(" with ") ? "and" : "with"} ${has}`;
}

function nounPhrase(group) {
  let before = group.before;
  if (group.after.length) {
    before = [...group.after, ...before.filter((word) => !COLOURS_AND_SHADES.has(word) && word !== "and")];
  }
  const many = split(group.parts[0]).at(-1);
  const plural = PLURAL.has(many) || (many.endsWith("s") && !/(ss|us|is)$/.test(many));
  const words = [...before, group.parts.join(" and ")].join(" ") + group.place;
  return plural || UNCOUNTED.has(many) ? words : `${beginsWithVowel(words) ? "an" : "a"} ${words}`;
}
