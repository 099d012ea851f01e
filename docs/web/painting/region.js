// The region of a photograph about its subject, where masks are made small and enlarged: region.py.

import { Maps } from "../images/maps.js";
import { follow, guidedFit } from "../images/matting.js";
import { bounds } from "../images/pieces.js";
import { interpolated, resized, sampled } from "../images/resample.js";
import { round } from "../python.js";
import tables from "../tables.js";
import { outlineMask } from "./masks.js";
import { refined } from "./outline.js";

const own = tables.region;

// {rectangle, small, maps, subject, scale} about what was found in a photograph.
export function regionAbout(found, photo) {
  const rectangle = around(found, photo);
  const [height, width] = [rectangle.bottom - rectangle.top, rectangle.right - rectangle.left];
  const scale = Math.min(1, own.WORKING / Math.max(height, width));
  const small = resized(photo, rectangle, Math.max(1, round(height * scale)), Math.max(1, round(width * scale)));
  const { x, y, side } = found.frame;
  const frame = { x: (x - rectangle.left) * scale, y: (y - rectangle.top) * scale, side: side * scale };
  const maps = within(found.maps, frame, small);
  const guess = new Maps(1, small.height, small.width, maps.plane(0).map((value) => 1 - value));
  return { rectangle, small, maps, subject: outlineMask(refined(small, guess).data), scale };
}

// The rectangle of the subject and some of its surroundings.
function around({ maps, frame, subject }, photo) {
  const room = round(own.AROUND * Math.max(subject.width, subject.height)) + 2;
  let [left, top] = [subject.x, subject.y];
  let [right, bottom] = [left + subject.width, top + subject.height];
  const likely = Math.fround(1 - own.MAYBE);
  const cells = bounds(maps.plane(0).map((value) => (value < likely ? 1 : 0)), maps.height, maps.width);
  if (cells) { // what may be of the subject, too: a tail that nobody was sure of
    const [across, down] = [frame.side / maps.width, frame.side / maps.height];
    [left, right] = [Math.min(left, frame.x + cells.left * across), Math.max(right, frame.x + cells.right * across)];
    [top, bottom] = [Math.min(top, frame.y + cells.top * down), Math.max(bottom, frame.y + cells.bottom * down)];
  }
  return {
    left: Math.max(0, round(left) - room), top: Math.max(0, round(top) - room),
    right: Math.min(photo.width, round(right) + room), bottom: Math.min(photo.height, round(bottom) + room),
  };
}

// Part maps over a small photograph; outside of their frame is background.
function within(maps, { x, y, side }, { height, width }) {
  const columns = Array.from({ length: width }, (_, i) => (i + 0.5 - x) / side);
  const rows = Array.from({ length: height }, (_, i) => (i + 0.5 - y) / side);
  const read = (places, length) => places.map((place) => place * length - 0.5);
  const found = sampled(maps, read(rows, maps.height), read(columns, maps.width));
  const framed = (place) => place >= 0 && place <= 1;
  const background = found.plane(0).fill(1);
  for (let k = 1; k < found.count; k++) {
    const plane = found.plane(k);
    for (let i = 0; i < plane.length; i++) {
      if (!framed(rows[Math.floor(i / width)]) || !framed(columns[i % width])) plane[i] = 0;
      background[i] -= plane[i];
    }
  }
  return found;
}

// Masks of the small copy at the region's own pixels, aligned with its edges.
export function enlarged(masks, small, pixels) {
  const { height, width } = pixels;
  const same = small.height === height && small.width === width;
  if (same || Math.min(small.height, small.width) < own.WINDOW) return interpolated(masks, height, width);
  const large = new Maps(masks.count, height, width);
  for (let k = 0; k < masks.count; k++) {
    const part = about(masks.plane(k), masks.height, masks.width, height, width);
    if (!part) continue; // elsewhere the fit is of zeros
    const slopes = interpolated(guidedFit(small, masks.plane(k), own.WINDOW, own.SMOOTHNESS), height, width, part);
    const mask = follow(cut(pixels, part), slopes);
    const plane = large.plane(k);
    for (let y = part.top, at = 0; y < part.bottom; y++) {
      for (let x = part.left; x < part.right; x++, at++) plane[y * width + x] = mask[at] < own.CUT ? 0 : mask[at];
    }
  }
  return large;
}

function cut(maps, { left, top, right, bottom }) {
  const found = new Maps(maps.count, bottom - top, right - left);
  for (let k = 0, at = 0; k < maps.count; k++) {
    for (let y = top; y < bottom; y++, at += found.width) {
      const start = k * maps.size + y * maps.width;
      found.data.set(maps.data.subarray(start + left, start + right), at);
    }
  }
  return found;
}

// The rectangle around what is set in a small mask, with the margin that the filter's windows reach.
function about(mask, smallHeight, smallWidth, height, width) {
  const cells = bounds(mask.map((value) => (value > 0 ? 1 : 0)), smallHeight, smallWidth);
  if (!cells) return null;
  const low = (first, count, length) => Math.floor((Math.max(0, first - own.WINDOW) * length) / count);
  const high = (last, count, length) => Math.ceil((Math.min(count, last + own.WINDOW) * length) / count);
  return {
    left: low(cells.left, smallWidth, width), right: high(cells.right, smallWidth, width),
    top: low(cells.top, smallHeight, height), bottom: high(cells.bottom, smallHeight, height),
  };
}
