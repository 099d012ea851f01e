// Tones of named colours: tgim/models/editing/painting/palette.py.

import { clip } from "../python.js";
import tables from "../tables.js";

const own = tables.palette;
const { RAMPS, RANGES, STEPS } = own;
const NAMED = tables.colours.PLAIN;
const everyLight = (light) => Array.from({ length: STEPS }, (_, i) => light(i));

// Value of a table over lightness 0, ..., 100 at a lightness.
export function at(values, light) {
  const place = clip(light, 0, STEPS - 1);
  const first = Math.min(Math.trunc(place), STEPS - 2);
  return values[first] + (place - first) * (values[first + 1] - values[first]);
}

// a and b over lightness between the tones of a plain colour; beyond the ends they stay.
function named(name) {
  const points = RAMPS[name].map(([light, chroma, hue]) => [light, chroma * Math.cos((hue * Math.PI) / 180), chroma * Math.sin((hue * Math.PI) / 180)]);
  return [1, 2].map((column) => Float32Array.from(everyLight((light) => {
    const after = points.findIndex((point) => point[0] > light);
    if (after === 0) return points[0][column];
    if (after < 0) return points.at(-1)[column];
    const [low, high] = [points[after - 1], points[after]];
    return low[column] + ((light - low[0]) * (high[column] - low[column])) / (high[0] - low[0]);
  })));
}

const PLAIN = Object.fromEntries(NAMED.map((name) => [name, named(name)]));
const moved = (ab, light) => ab.map((values) => Float32Array.from(everyLight((i) => at(values, light(i)))));
const scaled = (ab, factor) => ab.map((values) => values.map((value) => value * factor));

// Tones {ab, low, usual, high} of a colour as captions say it, shade and mixture included.
export function ramp({ name, light, strong, towards }) {
  let [ab, tones] = [PLAIN[name], RANGES[name]];
  if (towards && RAMPS[towards]) {
    const other = RANGES[towards];
    const mixed = tones.map((tone, i) => tone + own._TOWARDS * (other[i] - tone));
    const [there, here] = [moved(PLAIN[towards], (i) => i + (other[1] - mixed[1])), moved(ab, (i) => i + (tones[1] - mixed[1]))];
    ab = here.map((values, k) => values.map((value, i) => value + own._TOWARDS * (there[k][i] - value)));
    tones = mixed;
  }
  if (light) {
    const shift = light * (light > 0 ? own._LIGHTER : own._DARKER);
    tones = tones.map((tone) => tone + shift);
    ab = scaled(moved(ab, (i) => i - shift * 0.6), 1 - 0.15 * Math.abs(light));
  }
  const [low, usual, high] = tones.map((tone) => clip(tone, 1, 99.5));
  return { ab: scaled(ab, 1 + (strong > 0 ? 0.15 : 0.45) * strong), low, usual, high };
}

const USUAL = NAMED.map((name) => [RANGES[name][1], ...PLAIN[name].map((values) => values[RANGES[name][1]])]);

// Index of the nearest plain colour of a Lab colour, and how much farther the next one is.
export function nearest(light, a, b) {
  let [chosen, first, second] = [0, Infinity, Infinity];
  for (let i = 0; i < USUAL.length; i++) {
    const [l, x, y] = USUAL[i];
    const far = 0.5 * (light - l) ** 2 + (a - x) ** 2 + (b - y) ** 2;
    if (far < first) [chosen, second, first] = [i, first, far];
    else if (far < second) second = far;
  }
  return [chosen, Math.sqrt(second) - Math.sqrt(first)];
}
