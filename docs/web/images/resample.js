// Resampling as Pillow's bilinear filter does it: antialiased where it makes smaller, plain where it makes larger.

import { clip } from "../python.js";
import { Maps } from "./maps.js";

// For each place of an axis of `length` pixels, cut from `start` to `end` of one of `whole`: what is read, and weights.
function weights(whole, start, end, length) {
  const scale = (Math.fround(end) - Math.fround(start)) / length;
  const reach = Math.max(1, scale);
  return Array.from({ length }, (_, place) => {
    const centre = Math.fround(start) + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(whole, Math.trunc(centre + reach + 0.5));
    const own = new Float64Array(last - first);
    let sum = 0;
    for (let i = 0; i < own.length; i++) {
      own[i] = Math.max(0, 1 - Math.abs((i + first - centre + 0.5) / reach));
      sum += own[i];
    }
    if (sum !== 0) for (let i = 0; i < own.length; i++) own[i] /= sum;
    return { first, own };
  });
}

// Resize one map, row by row: `read(y, into)` reads a row of `width` numbers.
function resample(read, height, width, box, into, outHeight, outWidth) {
  const across = weights(width, box.left, box.right, outWidth);
  const down = weights(height, box.top, box.bottom, outHeight);
  const same = outWidth === width && box.left === 0 && box.right === width;
  const begin = down[0].first;
  const end = down.at(-1).first + down.at(-1).own.length;
  const narrow = new Float32Array((end - begin) * outWidth);
  const line = new Float32Array(width);
  for (let y = begin; y < end; y++) {
    const out = narrow.subarray((y - begin) * outWidth, (y - begin + 1) * outWidth);
    read(y, line);
    if (same) {
      out.set(line);
      continue;
    }
    for (let x = 0; x < outWidth; x++) {
      const { first, own } = across[x];
      let sum = 0;
      for (let i = 0; i < own.length; i++) sum += line[first + i] * own[i];
      out[x] = sum;
    }
  }
  if (outHeight === height && box.top === 0 && box.bottom === height) {
    into.set(narrow);
    return;
  }
  for (let y = 0; y < outHeight; y++) {
    const { first, own } = down[y];
    for (let x = 0; x < outWidth; x++) {
      let sum = 0;
      for (let i = 0, at = (first - begin) * outWidth + x; i < own.length; i++, at += outWidth) sum += narrow[at] * own[i];
      into[y * outWidth + x] = sum;
    }
  }
}

const everything = (height, width) => ({ left: 0, top: 0, right: width, bottom: height });

// Maps of any range at another size; `part`, a rectangle of the larger size, is all that is made where it is given.
export function interpolated(maps, height, width, part = everything(height, width)) {
  const [outHeight, outWidth] = [part.bottom - part.top, part.right - part.left];
  if (maps.height === outHeight && maps.width === outWidth && maps.height === height && maps.width === width) return maps;
  const [down, across] = [maps.height / height, maps.width / width];
  const box = { left: part.left * across, top: part.top * down, right: part.right * across, bottom: part.bottom * down };
  const found = new Maps(maps.count, outHeight, outWidth);
  if (!found.size) return found;
  for (let i = 0; i < maps.count; i++) {
    const plane = maps.plane(i);
    const read = (y, into) => into.set(plane.subarray(y * maps.width, (y + 1) * maps.width));
    resample(read, maps.height, maps.width, box, found.plane(i), outHeight, outWidth);
  }
  return found;
}

// A rectangle of a photograph at another size, (3, height, width) in [-1, 1].
export function resized(photo, rectangle, height, width) {
  const { left, top, right, bottom } = rectangle;
  if (bottom - top === height && right - left === width) return photo.part(rectangle);
  const found = new Maps(3, height, width);
  for (let channel = 0; channel < 3; channel++) {
    const read = (y, into) => photo.row(channel, top + y, left, into);
    const box = everything(bottom - top, right - left);
    resample(read, box.bottom, box.right, box, found.plane(channel), height, width);
  }
  for (let i = 0; i < found.data.length; i++) found.data[i] = clip(found.data[i], -1, 1);
  return found;
}

// Maps read at places of a grid, between pixels linearly; beyond the border, the border's value.
export function sampled(maps, rows, columns) {
  const found = new Maps(maps.count, rows.length, columns.length);
  const [down, across] = [rows.map((place) => between(place, maps.height)), columns.map((place) => between(place, maps.width))];
  for (let i = 0, at = 0; i < maps.count; i++) {
    const plane = maps.plane(i);
    for (const [top, bottom, low] of down) {
      for (const [left, right, part] of across) {
        const before = mixed(plane[top * maps.width + left], plane[bottom * maps.width + left], low);
        const after = mixed(plane[top * maps.width + right], plane[bottom * maps.width + right], low);
        found.data[at++] = mixed(before, after, part);
      }
    }
  }
  return found;

  function mixed(a, b, part) {
    return Math.fround(Math.fround(Math.fround(b - a) * part) + a);
  }

  function between(place, length) {
    const inside = clip(place, 0, length - 1);
    const first = Math.min(Math.trunc(inside), Math.max(length - 2, 0));
    return [first, Math.min(first + 1, length - 1), Math.fround(inside - first)];
  }
}
