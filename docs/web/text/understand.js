// Texts as captions that an editor knows: tgim/text/understand.py.

import { UserError, dropWhile, quoted } from "../python.js";
import tables from "../tables.js";
import { NO_NEGATION, captionOf, isInstruction, normal, split } from "./instructions.js";
import { neighbour } from "./neighbours.js";
import { RULES } from "./rules.js";
import { LETTER, MAX_WORDS, tokenize } from "./vocabulary.js";

const COLOURS = new Set(tables.colours.COLOUR_WORDS);
const SUBJECTS = new Set([...tables.parts.BIRD, ...tables.parts.FLOWER]);
const begun = (rule, words) => Boolean(RULES.match(rule, words));
const among = (marks) => (word) => marks.includes(word);

// The caption for an editor of this vocabulary, and a line for each thing that was not taken as it was said.
export function understand(text, vocabulary) {
  const said = text.trim();
  const count = tokenize(said).length;
  if (!count || count > MAX_WORDS) vocabulary.check(said);
  const notes = [];
  let [caption, before] = [said, ""];
  for (let round = 0; round < 2 * MAX_WORDS && caption !== before; round++) {
    before = caption;
    caption = once(caption, vocabulary, notes);
    if (caption !== before && !tokenize(caption).length) {
      throw new UserError(
        `text ${quoted(said)} names nothing that is to be seen (models know no negation and take nothing away); ` +
          "describe the wanted picture, e.g. 'a red bird with black wings'",
      );
    }
  }
  if (!vocabulary.knows(caption)) vocabulary.check(said);
  return { caption: vocabulary.check(caption), notes: [...new Set(notes)] };
}

function once(text, vocabulary, notes) {
  const found = [];
  let caption = isInstruction(text) ? captionOf(text, subjectOf(vocabulary), found) : text;
  notes.push(...found.map(([what, why]) => `${quoted(what)} ${why}`));
  caption = withoutNegation(caption, notes);
  caption = withoutCounts(caption, vocabulary, notes, caption !== text);
  return knownWords(caption, vocabulary, notes);
}

function subjectOf(vocabulary) {
  if (!vocabulary.hasAll("this has")) return "";
  return vocabulary.words.find((word) => word === "bird" || word === "flower") ?? "";
}

// Leave out colours that are not wanted, and say what else was negated.
function withoutNegation(caption, notes) {
  const words = split(normal(caption));
  if (RULES.find("NO", words) === null) return caption;
  let kept = words;
  for (let found = RULES.find("NEGATED", kept); found; found = RULES.find("NEGATED", kept)) {
    let [before, gone, after] = [kept.slice(0, found[0]), kept.slice(...found), kept.slice(found[1])];
    if (after[0] === "but" && after.length > 1) {
      [before, after] = [[...before, ...gone.slice(0, RULES.match("LEADS", gone) ?? undefined)], after.slice(1)];
    } else if (begun("BEING", gone)) {
      const start = stated(before);
      [before, gone] = [before.slice(0, start), [...before.slice(start), ...gone]];
    }
    const named = dropWhile(gone, among([",", "and", "but", "or"]));
    notes.push(`${quoted(named.join(" "))} is left out: ${NO_NEGATION}`);
    kept = trimmed([...before, ...after]);
  }
  if (kept.join(" ") !== words.join(" ")) return kept.join(" ").replace(/ ([,.;:!?])/g, "$1");
  for (const [start, end] of RULES.findAll("MISSING", words)) {
    notes.push(`${quoted(words.slice(start, end).join(" "))} changes nothing: models know no negation`);
  }
  return caption;
}

function stated(before) {
  const found = begun("STATED", before) ? [0, 0] : RULES.find("STATING", before);
  const start = found ? found[0] : before.length;
  return before.slice(start).some((word) => COLOURS.has(word)) ? before.length : start;
}

function trimmed(words) {
  const joints = ["and", "but", "or", "with"];
  let left = dropWhile(words, among([",", ".", ";"]));
  if (joints.includes(left[0])) left = dropWhile(left.slice(1), among([","]));
  left = dropWhile(left.reverse(), among([",", ";"]));
  if (joints.includes(left[0])) left = dropWhile(left.slice(1), among([",", ";"]));
  return left.reverse();
}

// Leave out counts of subjects and parts; those of a whole caption stay where such captions are known.
function withoutCounts(caption, vocabulary, notes, instructed) {
  const pieces = caption.match(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_]/gu) ?? [];
  const words = pieces.map((each) => each.toLowerCase());
  const phrase = RULES.match("SOME-ONLY", words) !== null;
  const kept = [];
  let done = 0;
  for (const [start, end] of RULES.findAll("COUNTED", words)) {
    notes.push(`${quoted(pieces.slice(start, end).join(""))} changes no number: models do not count`);
    const plain = RULES.match("THINGS", words.slice(start + 1, end)) !== null;
    const first = plain && !pieces.slice(0, start).join("").trim() && SUBJECTS.has(words[end - 1]);
    if (instructed || phrase || first || !vocabulary.hasAll(words[start])) {
      kept.push(...pieces.slice(done, start));
      done = start + 2;
    }
  }
  return [...kept, ...pieces.slice(done)].join("");
}

// Put known words for unknown ones.
function knownWords(caption, vocabulary, notes) {
  const [before, after] = [`(?<!${LETTER})`, `(?!${LETTER})`]; // the borders of a word
  for (const [word, near] of vocabulary.unknown(caption)) {
    const known = neighbour(word, vocabulary);
    if (!known) {
      notes.push(`unknown word ${quoted(word)} is ignored${near.length ? `; nearest known: ${near.join(", ")}` : ""}`);
      continue;
    }
    notes.push(`unknown word ${quoted(word)}: ${quoted(known)} is used instead`);
    const article = "aeiou".includes(known[0]) ? "an" : "a";
    const parts = known.split(" ");
    const put = (pattern, value) => caption.replace(new RegExp(pattern, "giu"), () => value);
    caption = put(`${before}${word}(?= ${parts.at(-1)}${after})`, parts.slice(0, -1).join(" "));
    caption = put(`${before}an? ${word}${after}`, `${article} ${known}`);
    caption = put(`${before}${word}${after}`, known);
    caption = caption.replace(/  +/g, " ").trim();
  }
  return caption;
}
