// Recolouring of one part that keeps its light, shade and texture: tgim/models/editing/painting/brush.py.

import { Maps } from "../images/maps.js";
import { windowMean } from "../images/matting.js";
import { interpolated } from "../images/resample.js";
import { clip, round } from "../python.js";
import tables from "../tables.js";
import { mostChroma, toRgb } from "./lab.js";
import { at } from "./palette.js";

const own = tables.brush;
const { BINS } = own;

// Low, middle and high quantiles of lightness by weights.
function tonesOf(light, weight) {
  const counts = new Float64Array(BINS);
  for (let i = 0; i < light.length; i++) {
    counts[clip(Math.trunc(Math.fround(light[i] * (BINS / 100))), 0, BINS - 1)] += weight[i];
  }
  const all = Math.max(1e-6, counts.reduce((a, b) => a + b, 0));
  const [low, middle, high] = [own.ENDS, 0.5, 1 - own.ENDS].map((share) => {
    let [bin, sum] = [0, 0];
    for (; bin < BINS - 1; bin++) {
      sum += counts[bin];
      if (sum / all >= share) break;
    }
    return ((bin + 0.5) * 100) / BINS;
  });
  return { low, middle, high };
}

// Monotone curve of new lightness over lightness 0, ..., 100; it ends inside the wanted tones.
function toneCurve(tones, wanted) {
  const natural = (wanted.usual + 16) / (tones.middle + 16);
  const down = slope(tones.middle - tones.low, wanted.usual - wanted.low, natural);
  const up = slope(tones.high - tones.middle, wanted.high - wanted.usual, natural);
  const curve = Float64Array.from({ length: BINS + 1 }, (_, i) => {
    const offset = (i * 100) / BINS - tones.middle;
    return bent(bent(wanted.usual + (offset < 0 ? down : up) * offset, wanted.low, -1), wanted.high, 1);
  });
  return Float32Array.from(curve, (_, i) => {
    let sum = 0;
    for (let d = -8; d <= 8; d++) sum += curve[clip(i + d, 0, BINS)];
    return clip(sum / 17, 0, 100);
  });
}

function slope(range, room, natural) {
  const fit = room / Math.max(range, 1e-3);
  const lively = Math.max(natural, Math.min(own.LIVELY * fit, own.LIVELIEST));
  return Math.min(Math.max(Math.min(fit, lively), own.FLATTEST), own.STEEPEST);
}

// Compress what lies beyond `end`: slope 0.4 there, falling to 0 (`side` 1 above, -1 below).
function bent(value, end, side) {
  const over = side * (value - end);
  return over > 0 ? end + side * 4 * (1 - Math.exp(-over / 10)) : value;
}

function lookUp(curve, light) {
  const place = clip((light * BINS) / 100, 0, BINS);
  const first = Math.min(Math.trunc(place), BINS - 1);
  return curve[first] + (place - first) * (curve[first + 1] - curve[first]);
}

// Pixels within which detail is fine, of a subject whose longer side is so many.
export function fineRadius(longer) {
  return Math.max(1, round(own.DETAIL * longer));
}

// Lightness (H, W) less its mean over a window of the part alone.
export function fineDetail(light, weight, height, width, radius) {
  const coarser = Math.max(1, Math.floor(radius / 3));
  const window = 2 * Math.floor(radius / coarser) + 1;
  if (window * coarser > Math.min(height, width) || radius < 1) return new Float32Array(light.length);
  const means = windowMean(pooled(light, weight, height, width, coarser), window);
  const [share, all] = means.planes();
  const mean = new Maps(1, means.height, means.width, share.map((value, i) => value / Math.max(1e-4, all[i])));
  const smooth = interpolated(mean, height, width).data;
  return light.map((value, i) => value - smooth[i]);
}

// Means of lightness times weight, and of weight, over squares of `size` pixels.
function pooled(light, weight, height, width, size) {
  const found = new Maps(2, Math.ceil(height / size), Math.ceil(width / size));
  const [first, second] = [new Float64Array(found.size), new Float64Array(found.size)];
  for (let y = 0, i = 0; y < height; y++) {
    const row = Math.floor(y / size) * found.width;
    for (let x = 0; x < width; x++, i++) {
      const cell = row + Math.floor(x / size);
      first[cell] += light[i] * weight[i];
      second[cell] += weight[i];
    }
  }
  for (let cell = 0; cell < found.size; cell++) {
    const [row, column] = [Math.floor(cell / found.width) * size, (cell % found.width) * size];
    const area = Math.min(size, height - row) * Math.min(size, width - column);
    found.data[cell] = first[cell] / area;
    found.data[found.size + cell] = second[cell] / area;
  }
  return found;
}

// Recolour pixels of a part; `put(i, rgb)` gets each.
export function painted([lights, a, b], weight, detail, wanted, put) {
  const tones = tonesOf(lights, weight);
  const curve = toneCurve(tones, wanted);
  const steep = (lookUp(curve, tones.high) - lookUp(curve, tones.low)) / Math.max(tones.high - tones.low, 1);
  const lost = Math.min(1.2, (wanted.usual + 16) / (tones.middle + 16)) - steep;
  const most = own.FINE * (wanted.high - wanted.low);
  let [sum, meanA, meanB] = [0, 0, 0];
  for (let i = 0; i < weight.length; i++) {
    sum += weight[i];
    meanA += a[i] * weight[i];
    meanB += b[i] * weight[i];
  }
  [meanA, meanB] = [meanA / Math.max(1e-6, sum), meanB / Math.max(1e-6, sum)];
  const ownOf = (value, mean) => clip(own.OWN * (value - mean), -own.OWN_MOST, own.OWN_MOST);
  const rgb = [0, 0, 0];
  for (let i = 0; i < weight.length; i++) {
    let light = lookUp(curve, lights[i]);
    if (lost > 0) light += most * Math.tanh((lost / most) * detail[i]); // a dark thing shows less contrast
    light = clip(bent(bent(light, wanted.low, -1), wanted.high, 1), 0.5, 99.8);
    const newA = at(wanted.ab[0], light) + ownOf(a[i], meanA);
    const newB = at(wanted.ab[1], light) + ownOf(b[i], meanB);
    const share = Math.min(1, mostChroma(light, Math.atan2(newB, newA)) / Math.max(1e-6, Math.hypot(newA, newB)));
    toRgb(light, newA * share, newB * share, rgb);
    put(i, rgb);
  }
}
