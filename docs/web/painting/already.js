// Whether a part already has the colour that a caption names: tgim/models/editing/painting/already.py.

import { Maps } from "../images/maps.js";
import { windowMean } from "../images/matting.js";
import { clip } from "../python.js";
import tables from "../tables.js";
import { nearest } from "./palette.js";

const own = tables.already;
const NAMED = tables.colours.PLAIN;
const { HUELESS } = tables.colours;
const { RAMPS } = tables.palette;

// Lower median: of an even number, the smaller of the two in the middle.
function median(values) {
  return Float32Array.from(values).sort()[Math.floor((values.length - 1) / 2)];
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const first = Math.floor(place);
  return sorted[first] + (place - first) * ((sorted[first + 1] ?? sorted[first]) - sorted[first]);
}

const picked = (plane, places) => places.map((i) => plane[i]);
const kindOf = (parts) => (parts.includes("petals") ? "flower" : "bird");

// Statistics of Lab over the parts: tenths of lightness from both ends, mean a and b.
function surroundings(lab, chosen, parts) {
  const places = parts.map(() => []);
  chosen.forEach((part, i) => places[part].push(i));
  const known = parts.map((part, i) => (own.KNOWN[kindOf(parts)].includes(part) ? i : -1)).filter((i) => i >= 0);
  let used = known.map((i) => places[i]).filter((each) => each.length);
  if (!used.length) {
    const subject = places.slice(1).flat();
    used = [subject.length ? subject : [...chosen.keys()]];
  }
  const [lights, as, bs] = lab.planes().map((plane) => used.map((each) => median(picked(plane, each))));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { dark: quantile(lights, 0.1), light: quantile(lights, 0.9), a: mean(as), b: mean(bs) };
}

// Mean evidence that pixels of a part are called by one of the target's colours already.
function evidence(lab, mask, places, target, around, part, kind) {
  const names = [...new Set(target.colours.flatMap(({ name, towards }) => [name, towards]).filter(Boolean))];
  const columns = kind === "bird" ? [...own.KNOWN.bird, own.EVERYWHERE] : own.KNOWN.flower;
  const weights = names.map((name) => own.names[kind][name]);
  const [lights, as, bs] = lab.planes();
  let [sum, all] = [0, 0];
  for (const i of places) {
    const [light, a, b] = [lights[i], as[i], bs[i]];
    const x = [light / 50 - 1, a / 40, b / 40, (light - around.light) / 40, (light - around.dark) / 40,
      Math.hypot(a, b) / 40, (a - around.a) / 20, (b - around.b) / 20];
    let most = -Infinity;
    for (const weight of weights) {
      let [found, at] = [weight[0], 1 + x.length];
      for (let j = 0; j < x.length; j++) found += weight[1 + j] * x[j];
      for (let j = 0; j < x.length; j++) for (let k = j; k < x.length; k++) found += weight[at++] * x[j] * x[k];
      const column = columns.indexOf(part);
      if (column >= 0) found += weight[at + column];
      most = Math.max(most, found);
    }
    sum += clip(most, -own.MOST, own.MOST) * mask[i];
    all += mask[i];
  }
  return sum / Math.max(1e-6, all);
}

// For each target whether a picture fulfils it as it is: lab (3, H, W), masks (N, H, W), maps (P, H, W).
export function trueAlready(lab, masks, maps, targets, parts) {
  const chosen = Array.from({ length: maps.size }, (_, i) => {
    let best = 0;
    for (let k = 1; k < maps.count; k++) if (maps.data[k * maps.size + i] > maps.data[best * maps.size + i]) best = k;
    return best;
  });
  const [around, kind] = [surroundings(lab, chosen, parts), kindOf(parts)];
  const plumage = parts.map((part) => own.KNOWN[kind].includes(part));
  const [found, share] = [[], []];
  targets.forEach((target, k) => {
    const mask = masks.plane(k);
    const places = chosen.map((_, i) => i).filter((i) => mask[i] > 0.5 && (!target.whole || plumage[chosen[i]]));
    const usual = places.length ? median(picked(lab.plane(0), places)) : 0;
    const fits = places.length && target.colours.some((colour) => fitsLightness(colour, usual));
    const tint = places.filter((i) => tinted(lab, i, target)).length / Math.max(1, places.length);
    const part = target.whole ? own.EVERYWHERE : target.parts[0];
    const mean = fits && tint >= own.TINTED ? evidence(lab, mask, places, target, around, part, kind) : -own.MOST;
    found.push(mean);
    share.push(fits ? places.filter((i) => called(lab, i, target)).length / places.length : 0);
  });
  const named = targets.map((_, i) => i).filter((i) => targets[i].whole || own.KNOWN[kind].includes(targets[i].parts[0]));
  const evidences = named.map((i) => Math.min(found[i], own.FOR));
  const told = new Set(named.flatMap((i) => targets[i].colours.map((colour) => colour.name)));
  if (named.length > 1 && told.size > 1) {
    const sum = evidences.reduce((a, b) => a + b, 0);
    if (Math.min(...evidences) > own.TOGETHER || (named.length > 2 && sum > 0)) return found.map(() => true);
  }
  const alone = told.size < 2 ? own.PART : own.AMONG;
  return targets.map((target, i) => {
    const enough = (target.whole ? own.WHOLE : alone) - (target.colours.length > 1 ? own.MIXED : 0);
    return found[i] > enough || share[i] > own.MAJORITY;
  });
}

// Whether a part of the `usual` lightness may have a colour's name: no dark part is white.
function fitsLightness(colour, usual) {
  const [low, high] = own.TONES[colour.name] ?? [0, 100];
  const least = Math.max(low, colour.light > 0.5 ? own.DARK : 0);
  return least <= usual && usual <= Math.min(high, colour.light < -0.5 ? own.LIGHT : 100);
}

// Whether a pixel has the hue of one of the target's colours; true for colours without hue.
function tinted(lab, i, target) {
  const [a, b] = [lab.data[lab.size + i], lab.data[2 * lab.size + i]];
  const hue = (Math.atan2(b, a) * 180) / Math.PI;
  return target.colours.some(({ name }) => {
    if (HUELESS.includes(name)) return true;
    const turn = hue - RAMPS[name][2][2] + 180;
    return Math.abs(turn - 360 * Math.floor(turn / 360) - 180) < own.HUE && Math.hypot(a, b) > own.CHROMA;
  });
}

function called(lab, i, target) {
  const [index] = nearest(lab.data[i], lab.data[lab.size + i], lab.data[2 * lab.size + i]);
  return target.colours.some((colour) => NAMED[index] === colour.name);
}

// Weights of pixels: 1 where one lacks the target's colours, 0 where it has them.
export function toChange(lab, target) {
  const [first] = target.colours;
  if (first.light || first.towards || HUELESS.includes(first.name)) return new Float32Array(lab.size).fill(1);
  const smallest = Math.min(lab.height, lab.width);
  const smooth = smallest > 3 ? windowMean(lab, 3) : lab;
  const [light, a, b] = smooth.planes();
  const names = target.colours.map((colour) => colour.name);
  let right = new Maps(1, lab.height, lab.width, light.map((value, i) => {
    const [index, lead] = nearest(value, a[i], b[i]);
    return names.includes(NAMED[index]) ? clip(lead / own.SURELY, 0, 1) : 0;
  }));
  if (smallest > own.WINDOW) right = windowMean(right, own.WINDOW);
  return right.data.map((value) => 1 - clip((value - 0.2) / 0.6, 0, 1));
}
