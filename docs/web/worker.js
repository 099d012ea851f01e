// The worker: loads engine and model, and edits, so that the page never stands still.

import { Photo } from "./images/maps.js";
import { loadModel } from "./model.js";
import { parseCaption } from "./painting/captions.js";
import { paintPhoto } from "./painting/painter.js";
import { UserError, quoted } from "./python.js";
import { understand } from "./text/understand.js";
import { Vocabulary } from "./text/vocabulary.js";

const SUBJECTS = { birds: "bird", flowers: "flower" };
const models = new Map(); // name -> promise
let turn = Promise.resolve(); // one question at a time

self.addEventListener("message", ({ data }) => {
  turn = turn.then(() => answer(data));
});

async function answer({ number, model, base, asked }) {
  const tell = (told) => self.postMessage({ number, told });
  try {
    if (!models.has(model)) models.set(model, loadModel(model, base, tell));
    const loaded = await models.get(model);
    const found = asked ? await edited(loaded, SUBJECTS[model], asked, tell) : null;
    self.postMessage({ number, answer: found }, found ? [found.levels.buffer] : []);
  } catch (error) {
    const loaded = await models.get(model).catch(() => models.delete(model)); // the next try loads again
    const own = error instanceof UserError || !loaded;
    self.postMessage({ number, error: own ? error.message : `the edit failed (${error.message}); try a smaller picture` });
  }
}

async function edited(model, subject, { levels, width, height, text, strength }, tell) {
  tell("Editing");
  const { caption, notes } = understand(text, new Vocabulary(model.words));
  const { targets, notes: remarks } = parseCaption(caption, model.parts);
  if (!targets.length) {
    const names = model.parts.slice(1).join(", ");
    throw new UserError(`text ${quoted(caption)} says no colour of a part that can be painted (${names}, or the whole)`);
  }
  const photo = new Photo(levels, width, height);
  const painting = await paintPhoto(model, photo, targets, strength, subject);
  return { levels, caption, notes: [...new Set([...notes, ...remarks, ...painting])] };
}
