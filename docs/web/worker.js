// The worker: loads engine and model, and edits, so that the page never stands still.

import { Photo } from "./images/maps.js";
import { loadModel } from "./model.js";
import { parseCaption } from "./painting/captions.js";
import { lookAt, paintPhoto } from "./painting/painter.js";
import { UserError, quoted } from "./python.js";
import { understand } from "./text/understand.js";
import { Vocabulary } from "./text/vocabulary.js";

const SUBJECTS = { birds: "bird", flowers: "flower" };
const models = new Map(); // name -> promise
let seen = null; // {id, name, scene} of the picture that was looked at last
let turn = Promise.resolve(); // one question at a time

self.addEventListener("message", ({ data }) => {
  turn = turn.then(() => answer(data));
});

// Load a model; look at a picture where one comes along; edit it where a text comes along, too.
async function answer({ number, model, base, picture, text, strength }) {
  const tell = (told) => self.postMessage({ number, told });
  try {
    const loaded = await load(model, base, tell);
    if (picture) tell("Looking at the picture");
    const scene = picture && (await sight(model, loaded, picture));
    const found = text === undefined ? null : edited(loaded, SUBJECTS[model], picture, scene, text, strength);
    self.postMessage({ number, answer: found }, found ? [found.levels.buffer] : []);
  } catch (error) {
    const own = error instanceof UserError;
    self.postMessage({ number, error: own ? error.message : `the edit failed (${error.message}); try a smaller picture` });
  }
}

// A model that is loaded once; the next try loads again where it failed.
function load(name, base, tell) {
  if (!models.has(name)) {
    models.set(name, loadModel(name, base, tell).catch((error) => {
      models.delete(name);
      throw error;
    }));
  }
  return models.get(name);
}

// What a model sees in a picture; it looks once, whatever is asked for afterwards.
async function sight(name, model, { id, levels, width, height }) {
  if (seen?.id !== id || seen.name !== name) {
    seen = { id, name, scene: await lookAt(model, new Photo(levels, width, height)) };
  }
  return seen.scene;
}

function edited(model, subject, { levels, width, height }, scene, text, strength) {
  const { caption, notes } = understand(text, new Vocabulary(model.words));
  const { targets, notes: remarks } = parseCaption(caption, model.parts);
  if (!targets.length) {
    const names = model.parts.slice(1).join(", ");
    throw new UserError(`text ${quoted(caption)} says no colour of a part that can be painted (${names}, or the whole)`);
  }
  const painting = paintPhoto(model, new Photo(levels, width, height), scene, targets, strength, subject);
  return { levels, caption, notes: [...new Set([...notes, ...remarks, ...painting])] };
}
