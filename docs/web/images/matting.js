// The guided filter, and how common colours are inside and outside of a mask: tgim/images/matting.py.

import { clip, round } from "../python.js";
import tables from "../tables.js";
import { Maps } from "./maps.js";

const { BELL, LEVELS } = tables.matting;

export const sigmoid = (x) => 1 / (1 + Math.exp(-clip(x, -80, 80)));
export const logit = (p) => Math.log(p / (1 - p));

// Number of each pixel's colour among LEVELS ** 3; image (3, H, W) in [-1, 1].
export function binned(image) {
  const [red, green, blue] = image.planes();
  const level = (x) => clip(round(Math.fround(Math.fround((x + 1) / 2) * (LEVELS - 1))), 0, LEVELS - 1);
  return Int32Array.from(red, (x, i) => (level(x) * LEVELS + level(green[i])) * LEVELS + level(blue[i]));
}

// Logarithms of the smoothed shares of each colour, by weights of the pixels.
export function logShares(colours, weights) {
  let counts = new Float64Array(LEVELS ** 3);
  for (let i = 0; i < colours.length; i++) counts[colours[i]] += weights[i];
  for (const step of [LEVELS * LEVELS, LEVELS, 1]) counts = smoothed(counts, step);
  const sum = Math.max(1e-9, counts.reduce((a, b) => a + b, 0));
  return counts.map((count) => Math.log(count / sum + 1e-5));
}

function smoothed(counts, step) {
  const found = new Float64Array(counts.length);
  for (let i = 0; i < counts.length; i++) {
    const place = Math.floor(i / step) % LEVELS;
    for (let d = -2; d <= 2; d++) {
      if (place + d >= 0 && place + d < LEVELS) found[i] += BELL[Math.abs(d)] * counts[i + d * step];
    }
  }
  return found;
}

// Colours, mask and their products, whose means over a window `slopesOf` takes.
export function moments(guide, mask) {
  const [r, g, b] = guide.planes();
  const product = (one, other) => one.map((value, i) => value * other[i]);
  return Maps.of(guide.height, guide.width, [r, g, b, mask, product(r, r), product(r, g), product(r, b), product(g, g),
    product(g, b), product(b, b), product(mask, r), product(mask, g), product(mask, b)]);
}

// Slopes over red, green and blue of the least-squares fit of a mask as a function of colour, by L D L^T.
export function slopesOf(means, eps) {
  const [MR, MG, MB, M, RR, RG, RB, GG, GB, BB, PR, PG, PB] = means.planes();
  const found = new Maps(3, means.height, means.width);
  const [red, green, blue] = found.planes();
  for (let i = 0; i < means.size; i++) {
    const [mr, mg, mb, m] = [MR[i], MG[i], MB[i], M[i]];
    const [rr, rg, rb] = [RR[i] - mr * mr + eps, RG[i] - mr * mg, RB[i] - mr * mb];
    const [gg, gb, bb] = [GG[i] - mg * mg + eps, GB[i] - mg * mb, BB[i] - mb * mb + eps];
    const [pr, pg, pb] = [PR[i] - m * mr, PG[i] - m * mg, PB[i] - m * mb];
    const [lg, lb] = [rg / rr, rb / rr];
    const dg = gg - lg * rg;
    const rest = gb - lg * rb;
    const lgb = rest / dg;
    const db = bb - lb * rb - lgb * rest;
    const own = pg - lg * pr;
    blue[i] = (pb - lb * pr - lgb * own) / db;
    green[i] = own / dg - lgb * blue[i];
    red[i] = pr / rr - lg * green[i] - lb * blue[i];
  }
  return found;
}

// The guided filter's slopes of red, green and blue, and the offset, (4, H, W).
export function guidedFit(guide, mask, window, eps) {
  const means = windowMean(moments(guide, mask), window);
  const slopes = slopesOf(means, eps);
  const fit = new Maps(4, guide.height, guide.width);
  fit.data.set(slopes.data);
  const offset = fit.plane(3);
  const [mr, mg, mb, m] = means.planes();
  const [red, green, blue] = slopes.planes();
  for (let i = 0; i < offset.length; i++) offset[i] = m[i] - red[i] * mr[i] - green[i] * mg[i] - blue[i] * mb[i];
  return windowMean(fit, window);
}

// Means over `window` x `window` pixels, borders reflected.
export function windowMean(maps, window) {
  const half = Math.floor(window / 2);
  if (!half) return maps;
  const { height, width } = maps;
  const reflected = (i, length) => (i < 0 ? -i : i >= length ? 2 * length - 2 - i : i);
  const columns = Int32Array.from({ length: width + 2 * half }, (_, i) => reflected(i - half, width));
  const rows = Int32Array.from({ length: height + 2 * half }, (_, i) => reflected(i - half, height));
  const found = new Maps(maps.count, height, width);
  const down = new Float64Array(maps.size);
  for (let k = 0; k < maps.count; k++) {
    const [plane, out] = [maps.plane(k), found.plane(k)];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let i = 0; i < window; i++) sum += plane[rows[y + i] * width + x];
        down[y * width + x] = sum;
      }
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let i = 0; i < window; i++) sum += down[y * width + columns[x + i]];
        out[y * width + x] = sum / (window * window);
      }
    }
  }
  return found;
}

// Slopes times colours plus offset, in [0, 1].
export function follow(guide, slopes) {
  const [r, g, b] = guide.planes();
  const [red, green, blue, offset] = slopes.planes();
  return offset.map((value, i) => clip(value + red[i] * r[i] + green[i] * g[i] + blue[i] * b[i], 0, 1));
}
