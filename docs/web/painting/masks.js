// Masks from part maps: tgim/models/editing/painting/masks.py, and `target_masks` of rules.py beside it.

import { Maps } from "../images/maps.js";
import { labelled } from "../images/pieces.js";
import { clip } from "../python.js";
import tables from "../tables.js";
import { sameColour } from "./words.js";

const own = tables.masks;
const { BETWEEN } = tables.painter;
const FLOWERS = new Set(tables.parts.FLOWER_PARTS);
const SEVERAL = new Set(tables.parts.SEVERAL);

// Smooth step: 0 below `low`, 1 above `high`, cubic between.
function step(x, [low, high]) {
  const inside = clip((x - low) / (high - low), 0, 1);
  return inside * inside * (3 - 2 * inside);
}

export const outlineMask = (subject) => subject.map((value) => step(value, own.OUTLINE));

// Mask of the parts `rows` of maps, the first of which is the background; `rivals` are no less likely.
function partMask(maps, subject, rows, rivals, boost) {
  return subject.map((within, i) => {
    let [named, others] = [0, 0];
    for (let k = 1; k < maps.count; k++) {
      const value = maps.data[k * maps.size + i];
      if (rows.includes(k)) named += value;
      else others += value;
      if (rivals.includes(k)) others += (boost - 1) * value;
    }
    named *= boost;
    const mask = step(named / Math.max(1e-6, named + others), own.SHARE) * within;
    return mask < own.CUT ? 0 : mask;
  });
}

// The mask without connected pieces of less than a share of the largest.
function mainPieces(mask, height, width) {
  const { labels, count } = labelled(mask.map((value) => (value > 0 ? 1 : 0)), height, width, false);
  const sizes = new Array(count + 1).fill(0);
  labels.forEach((label, i) => (sizes[label] += mask[i]));
  sizes[0] = 0;
  const most = Math.max(...sizes);
  return mask.map((value, i) => (sizes[labels[i]] >= own.SINGLE * most ? value : 0));
}

// Maps in which the centres of blossoms, small and soon taken for petals, are likelier.
function withCentres(maps, parts) {
  const centre = parts.indexOf(own.CENTER);
  if (centre < 0) return maps;
  const found = new Maps(maps.count, maps.height, maps.width, maps.data.slice());
  const plane = found.plane(centre);
  for (let i = 0; i < plane.length; i++) plane[i] *= own.CENTRE;
  return found;
}

// Masks (N, H, W) of targets in part maps; a whole subject leaves room for named parts.
export function targetMasks(given, subject, targets, parts) {
  const rows = targets.map((target) => target.parts.map((part) => parts.indexOf(part)));
  const maps = withCentres(given, parts);
  targets.forEach((target, i) => {
    for (const [near, far, between] of BETWEEN) { // "a red head and breast": the throat between them, too
      const same = targets.some((each) => sameColour(each.colours[0], target.colours[0]) && each.parts.includes(far));
      const free = !targets.some((each) => each.parts.includes(between)) && parts.includes(between);
      if (target.parts.includes(near) && same && free) rows[i].push(parts.indexOf(between));
    }
  });
  const named = rows.filter((_, i) => !targets[i].whole).flat();
  let masks = targets.map((target, i) => {
    if (target.whole) return partMask(maps, subject, rows[i], [], own.WHOLE);
    const boost = target.parts.some((part) => FLOWERS.has(part)) ? own.BLOSSOM : own.NAMED;
    const mask = partMask(maps, subject, rows[i], named.filter((each) => !rows[i].includes(each)), boost);
    return target.parts.some((part) => SEVERAL.has(part)) ? mask : mainPieces(mask, maps.height, maps.width);
  });
  const taken = subject.map((_, i) => masks.reduce((sum, mask, k) => sum + (targets[k].whole ? 0 : mask[i]), 0));
  masks = masks.map((mask, k) => (targets[k].whole ? mask.map((value, i) => value * (1 - Math.min(1, taken[i]))) : mask));
  return shared(Maps.of(maps.height, maps.width, masks));
}

// Masks whose sum is nowhere over 1.
export function shared(masks) {
  for (let i = 0; i < masks.size; i++) {
    let sum = 0;
    for (let at = i; at < masks.data.length; at += masks.size) sum += masks.data[at];
    if (sum > 1) for (let at = i; at < masks.data.length; at += masks.size) masks.data[at] /= sum;
  }
  return masks;
}
