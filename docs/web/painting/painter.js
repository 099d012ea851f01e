// Painting by rules: tgim/models/editing/painting/rules.py, and the editor's way with large photographs.

import { Maps, SmallPhoto } from "../images/maps.js";
import { resized } from "../images/resample.js";
import { UserError, clip, quoted, round } from "../python.js";
import tables from "../tables.js";
import { toChange, trueAlready } from "./already.js";
import { fineDetail, fineRadius, painted } from "./brush.js";
import { findParts } from "./finder.js";
import { toLab } from "./lab.js";
import { shared, targetMasks } from "./masks.js";
import { ramp } from "./palette.js";
import { enlarged, regionAbout } from "./region.js";

const own = tables.painter;
const { LARGE, WORKING } = tables.editor;
const ALREADY = "the picture is taken to show that already, so nothing is changed";

// What is seen in a photograph, whatever is asked for: {small, found, region}; `small` is the copy of a large one that
// is worked on, else null, and the others are null without a subject.
export async function lookAt(model, photo) {
  const small = photo.width * photo.height > LARGE ? smaller(photo) : null;
  const found = await findParts(model, small ?? photo);
  return { small, found, region: found && regionAbout(found, small ?? photo) };
}

// Paint the parts of a photograph in place; returns notes. `subject` is its name, for messages.
export function paintPhoto(model, photo, { small, found, region }, targets, strength, subject) {
  const notes = [];
  if (strength === 0) return notes;
  if (!found) {
    throw new UserError(`no ${subject} is found in the picture; take one in which a ${subject} is large and clear`);
  }
  const longer = Math.max(found.subject.width, found.subject.height);
  const change = paint(model, small ?? photo, region, targets, { strength, subject, longer, notes });
  if (change && small) addEnlarged(photo, small, change);
  else if (change) replace(photo, change);
  return notes;
}

// A copy of a large photograph that is worked on.
function smaller(photo) {
  const scale = Math.sqrt(WORKING / (photo.width * photo.height));
  const rectangle = { left: 0, top: 0, right: photo.width, bottom: photo.height };
  return new SmallPhoto(resized(photo, rectangle, Math.max(1, round(photo.height * scale)), Math.max(1, round(photo.width * scale))));
}

// {rectangle, there, before, after}: painted colours of the pixels `there` of a rectangle; null where nothing changes.
function paint(model, photo, region, targets, { strength, subject, longer, notes }) {
  const { small, maps } = region;
  const pixels = photo.part(region.rectangle);
  let coarse = targetMasks(maps, region.subject, targets, model.parts);
  const lab = new Maps(3, small.height, small.width);
  toLab(small.planes(), lab.planes());
  const done = trueAlready(lab, coarse, maps, targets, model.parts);
  const wanted = targets.map((_, i) => i).filter((i) => !done[i]);
  if (!wanted.length) {
    notes.push(targets.length > 1 ? `${ALREADY}; name one part alone to have it painted` : ALREADY);
    return null;
  }
  const asked = wanted.map((i) => targets[i]);
  coarse = Maps.of(small.height, small.width, wanted.map((i) => {
    const change = toChange(lab, targets[i]);
    return coarse.plane(i).map((value, at) => value * change[at]);
  }));
  const masks = shared(enlarged(coarse, small, pixels));
  const all = region.subject.reduce((sum, value) => sum + value, 0);
  const least = Math.max(own.FEWEST, (own.SMALLEST * all) / region.scale ** 2);
  const visible = masks.planes().map((mask) => mask.reduce((sum, value) => sum + value, 0) >= least);
  const missing = asked.filter((_, i) => !visible[i]).map((target) => target.word);
  if (!visible.some(Boolean)) {
    throw new UserError(`${missing.join(" and ")} of the ${subject} cannot be seen in the picture; nothing is changed`);
  }
  for (const word of missing) notes.push(`${quoted(word)} cannot be seen in the picture and is left out`);
  masks.planes().forEach((mask, i) => visible[i] || mask.fill(0));
  const ramps = asked.map((target) => ramp(target.colours[0]));
  return { rectangle: region.rectangle, ...paintParts(pixels, masks, ramps, strength, longer) };
}

// Colours before and after, (3, N), of the N pixels `there` that masks cover.
function paintParts(pixels, masks, ramps, strength, longer) {
  const union = new Float32Array(pixels.size);
  for (const mask of masks.planes()) for (let i = 0; i < union.length; i++) union[i] += mask[i];
  const there = picked(union, (value) => value !== 0);
  const before = pixels.planes().map((plane) => taken(plane, there));
  const lab = before.map(() => new Float32Array(there.length));
  toLab(before, lab);
  const light = new Float32Array(union.length);
  there.forEach((at, i) => (light[at] = lab[0][i]));
  const detail = taken(fineDetail(light, union, pixels.height, pixels.width, fineRadius(longer)), there);
  const after = before.map((plane) => plane.slice());
  masks.planes().forEach((mask, k) => {
    const weight = taken(mask, there);
    const places = picked(weight, (value) => value !== 0);
    if (!places.length) return;
    const shares = taken(weight, places);
    painted(lab.map((plane) => taken(plane, places)), shares, taken(detail, places), ramps[k], (i, rgb) => {
      const at = places[i];
      for (let c = 0; c < 3; c++) after[c][at] += strength * shares[i] * (clip(rgb[c], -1, 1) - before[c][at]);
    });
  });
  return { there, before, after };
}

function picked(values, fits) {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (fits(values[i])) count++;
  const found = new Int32Array(count);
  for (let i = 0, at = 0; i < values.length; i++) if (fits(values[i])) found[at++] = i;
  return found;
}

function taken(values, places) {
  const found = new Float32Array(places.length);
  for (let i = 0; i < places.length; i++) found[i] = values[places[i]];
  return found;
}

const level = (colour) => clip(round(Math.fround(Math.fround(colour + 1) * 127.5)), 0, 255);

// Put painted colours into a photograph; all other pixels stay as they are.
function replace(photo, { rectangle, there, after }) {
  const width = rectangle.right - rectangle.left;
  for (let i = 0; i < there.length; i++) {
    const [y, x] = [rectangle.top + Math.floor(there[i] / width), rectangle.left + (there[i] % width)];
    const at = 4 * (y * photo.width + x);
    for (let c = 0; c < 3; c++) photo.levels[at + c] = level(after[c][i]);
  }
}

// Add the change of a small copy to a large photograph, enlarged linearly.
function addEnlarged(photo, small, { rectangle, there, before, after }) {
  const { left, top, right, bottom } = rectangle;
  const change = new Maps(3, bottom - top, right - left);
  for (let c = 0; c < 3; c++) {
    const plane = change.plane(c);
    there.forEach((at, i) => (plane[at] = after[c][i] - before[c][i]));
  }
  const [down, across] = [small.height / photo.height, small.width / photo.width];
  const first = (start, scale) => Math.max(0, Math.floor((start - 1) / scale));
  const end = (stop, scale, length) => Math.min(length, Math.ceil((stop + 1) / scale));
  const read = (plane, y, x) => (y < 0 || x < 0 || y >= change.height || x >= change.width ? 0 : plane[y * change.width + x]);
  const colours = new Float32Array(photo.width);
  for (let c = 0; c < 3; c++) {
    const plane = change.plane(c);
    for (let y = first(top, down); y < end(bottom, down, photo.height); y++) {
      const row = clip((y + 0.5) * down - 0.5, 0, small.height - 1);
      const [upper, low] = [Math.floor(row) - top, row - Math.floor(row)];
      photo.row(c, y, 0, colours);
      for (let x = first(left, across); x < end(right, across, photo.width); x++) {
        const column = clip((x + 0.5) * across - 0.5, 0, small.width - 1);
        const [near, part] = [Math.floor(column) - left, column - Math.floor(column)];
        const one = (1 - low) * read(plane, upper, near) + low * read(plane, upper + 1, near);
        const two = (1 - low) * read(plane, upper, near + 1) + low * read(plane, upper + 1, near + 1);
        const added = one + part * (two - one);
        if (added) photo.levels[4 * (y * photo.width + x) + c] = level(clip(colours[x] + added, -1, 1));
      }
    }
  }
}
