// Search for a subject and its parts: a look at all of the photograph, then closer ones. tgim/models/parsing/part_maps.py.

import { Maps } from "../images/maps.js";
import { bounds, labelled, widest } from "../images/pieces.js";
import { interpolated, resized } from "../images/resample.js";
import { clip, round } from "../python.js";
import tables from "../tables.js";

const own = tables.part_maps;

// Parts {maps, frame, subject} of the largest subject of a photograph; null where there is none.
// `model` has `look(picture)`, which gives maps (P, s, s) and how probable a subject is, `together` and `imageSize`.
export async function findParts(model, photo) {
  const whole = square({ left: 0, top: 0, right: photo.width, bottom: photo.height }, 1);
  let look = await Look.at(model, photo, whole, false);
  let pieces = subjects(look, model.together, own.NEAR);
  let present = look.present;
  if (!pieces.length) return null;
  let [extent, chosen] = [look.extent(pieces[0]), null];
  for (let i = 0; i < own.LOOKS; i++) {
    look = await Look.at(model, photo, square(extent, own.ROOM), true);
    present = Math.max(present, look.present);
    pieces = subjects(look, model.together, own.NEARER);
    if (!pieces.length) break;
    const before = extent;
    const extents = pieces.map((piece) => look.extent(piece));
    const overlaps = extents.map((each) => overlap(each, before));
    const best = overlaps.indexOf(Math.max(...overlaps));
    [extent, chosen] = [extents[best], pieces[best]];
    if (change(before, extent) < own.CONVERGED) break;
  }
  const maps = pieces.length && !model.together ? alone(look.maps, chosen) : look.maps;
  const sure = maps.plane(0).map((value) => 1 - value).filter((value) => value > own.SURE);
  const mean = sure.reduce((a, b) => a + b, 0) / sure.length;
  const score = pieces.length && sure.length ? (present / (present + own.SPREAD_OUT)) * mean : 0;
  return score < own.FOUND ? null : { maps, frame: look.frame, subject: inside(extent, photo) };
}

class Look {
  static async at(model, photo, frame, twice) {
    const picture = framed(photo, frame, model.imageSize);
    const first = await model.look(picture);
    const look = new Look();
    Object.assign(look, { maps: first.maps, present: first.present, frame });
    if (twice) {
      const other = await model.look(mirrored(picture));
      const back = mirrored(other.maps);
      for (let i = 0; i < look.maps.data.length; i++) look.maps.data[i] = (look.maps.data[i] + back.data[i]) / 2;
      look.present = (first.present + other.present) / 2;
    }
    look.foreground = look.within(photo);
    return look;
  }

  // Probability of the subject; 0 outside of the photograph.
  within(photo) {
    const { x, y, side } = this.frame;
    const { height, width } = this.maps;
    const [down, across] = [side / height, side / width];
    return this.maps.plane(0).map((background, i) => {
      const [top, left] = [y + (Math.floor(i / width) * side) / height, x + ((i % width) * side) / width];
      return top > -down && top < photo.height && left > -across && left < photo.width ? 1 - background : 0;
    });
  }

  // Bounds of the subject in some cells, in the photograph's pixels, to a quarter of a cell.
  extent(cells) {
    const { height, width } = this.maps;
    const [fineHeight, fineWidth] = [own.FINE * height, own.FINE * width];
    const coarse = new Maps(1, height, width, this.maps.plane(0).map((value) => 1 - value));
    const fine = interpolated(coarse, fineHeight, fineWidth).data.map((value, i) => {
      const [row, column] = [Math.floor(i / fineWidth / own.FINE), Math.floor((i % fineWidth) / own.FINE)];
      return cells[row * width + column] ? value : 0;
    });
    const least = Math.min(own.EDGE, 0.7 * fine.reduce((a, b) => Math.max(a, b), 0));
    const mask = withoutSpecks(Uint8Array.from(fine, (value) => value > least), fineHeight, fineWidth);
    const { top, bottom, left, right } = bounds(mask, fineHeight, fineWidth);
    const { x, y, side } = this.frame;
    const [across, down] = [side / fineWidth, side / fineHeight];
    return { left: x + left * across, top: y + top * down, right: x + right * across, bottom: y + bottom * down };
  }
}

function withoutSpecks(mask, height, width) {
  const { labels, count } = labelled(mask, height, width);
  const sizes = new Array(count + 1).fill(0);
  for (const label of labels) sizes[label]++;
  sizes[0] = 0;
  const all = sizes.reduce((a, b) => a + b, 0);
  return mask.map((set, i) => (set && sizes[labels[i]] >= own.SPECK * all ? 1 : 0));
}

function mirrored(maps) {
  const found = new Maps(maps.count, maps.height, maps.width);
  const { width } = maps;
  for (let start = 0; start < maps.data.length; start += width) {
    for (let x = 0; x < width; x++) found.data[start + x] = maps.data[start + width - 1 - x];
  }
  return found;
}

// The square `frame` of a photograph at `size` pixels; outside, the photograph's border goes on.
export function framed(photo, { x, y, side }, size) {
  const rectangle = { left: Math.max(x, 0), top: Math.max(y, 0), right: Math.min(x + side, photo.width), bottom: Math.min(y + side, photo.height) };
  const place = (value) => round((value * size) / side);
  const [left, top] = [place(rectangle.left - x), place(rectangle.top - y)];
  const right = Math.max(place(rectangle.right - x), left + 1);
  const bottom = Math.max(place(rectangle.bottom - y), top + 1);
  const small = resized(photo, rectangle, bottom - top, right - left);
  const found = new Maps(3, size, size);
  for (let k = 0, at = 0; k < 3; k++) {
    const plane = small.plane(k);
    for (let i = 0; i < size; i++) {
      const row = clip(i - top, 0, small.height - 1) * small.width;
      for (let j = 0; j < size; j++) found.data[at++] = plane[row + clip(j - left, 0, small.width - 1)];
    }
  }
  return found;
}

// Cells of each subject, largest first; pieces that lie close together are one, or all of them are.
function subjects({ foreground, maps }, together, near) {
  const { height, width } = maps;
  const cells = foreground.map((value) => (value > own.MAYBE ? 1 : 0));
  const { labels, count } = labelled(widest(cells, height, width, Math.floor(near / 2)), height, width);
  const [sure, weight] = [new Array(count + 1).fill(0), new Array(count + 1).fill(0)];
  for (let i = 0; i < labels.length; i++) {
    const label = cells[i] ? labels[i] : (labels[i] = 0);
    if (label && foreground[i] > own.SURE) sure[label]++;
    weight[label] += Math.max(0, Math.fround(foreground[i] - own.SURE));
  }
  const numbers = sure.map((_, i) => i).filter((i) => i && sure[i] >= own.FEWEST);
  if (together) {
    return numbers.length ? [Uint8Array.from(labels, (label) => (numbers.includes(label) ? 1 : 0))] : [];
  }
  const most = Math.max(0, ...numbers.map((i) => weight[i]));
  return numbers
    .filter((i) => weight[i] > 0 && weight[i] >= own.MINOR * most)
    .sort((a, b) => weight[b] - weight[a] || a - b)
    .map((i) => Uint8Array.from(labels, (label) => (label === i ? 1 : 0)));
}

// The maps with all that belongs to other subjects made background.
function alone(maps, cells) {
  const near = widest(cells, maps.height, maps.width, own.NEARER - 1);
  const found = new Maps(maps.count, maps.height, maps.width);
  const background = found.plane(0).fill(1);
  for (let k = 1; k < maps.count; k++) {
    const [plane, out] = [maps.plane(k), found.plane(k)];
    for (let i = 0; i < out.length; i++) {
      out[i] = plane[i] * near[i];
      background[i] -= out[i];
    }
  }
  return found;
}

// A square of whole pixels about the centre of an extent, `room` times its longer side wide.
function square({ left, top, right, bottom }, room) {
  const side = Math.max(8, round(room * Math.max(right - left, bottom - top)));
  return { x: round((left + right - side) / 2), y: round((top + bottom - side) / 2), side };
}

function inside(extent, { height, width }) {
  let [x0, x1] = [extent.left, extent.right].map((value) => round(clip(value, 0, width)));
  let [y0, y1] = [extent.top, extent.bottom].map((value) => round(clip(value, 0, height)));
  [x0, y0] = [Math.min(x0, width - 1), Math.min(y0, height - 1)];
  return { x: x0, y: y0, width: Math.max(1, x1 - x0), height: Math.max(1, y1 - y0) };
}

// Intersection over union of two extents.
function overlap(a, b) {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const both = Math.max(width, 0) * Math.max(height, 0);
  const area = (each) => (each.right - each.left) * (each.bottom - each.top);
  return both / Math.max(1e-9, area(a) + area(b) - both);
}

// The largest move of a side, of the longer side.
function change(a, b) {
  const longer = Math.max(a.right - a.left, a.bottom - a.top);
  return Math.max(...["left", "top", "right", "bottom"].map((side) => Math.abs(a[side] - b[side]))) / Math.max(longer, 1);
}
