// CIE Lab (D65) of colours, and how much chroma sRGB has: tgim/models/editing/painting/lab.py.

import { LIGHT_OF_LEVEL } from "../images/maps.js";
import { clip } from "../python.js";
import tables from "../tables.js";

const { HUES, LIGHTS, _LINEAR_END: END, _SAFE: SAFE, _TO_RGB: RGB, _TO_XYZ: XYZ } = tables.lab;

const linear = (value) => {
  const x = (value + 1) / 2;
  return x > 0.04045 ? ((x + 0.055) / 1.055) ** 2.4 : x / 12.92;
};
const root = (t) => (t > END ** 3 ? Math.cbrt(t) : t / (3 * END ** 2) + 4 / 29);
const cube = (f) => (f > END ? f ** 3 : 3 * END ** 2 * (f - 4 / 29));
const encoded = (light) => 2 * (light > 0.0031308 ? 1.055 * light ** (1 / 2.4) - 0.055 : 12.92 * light) - 1;
const LEVELS = Float64Array.from(LIGHT_OF_LEVEL, linear);

// Linear light of a colour, which nearly always is one of a photograph's levels.
function known(value) {
  const level = Math.round((value + 1) * 127.5);
  return LIGHT_OF_LEVEL[level] === value ? LEVELS[level] : linear(value);
}

// Lab of sRGB in [-1, 1]: planes of three arrays, the second of which are written.
export function toLab([red, green, blue], [light, a, b]) {
  for (let i = 0; i < red.length; i++) {
    const [r, g, v] = [known(red[i]), known(green[i]), known(blue[i])];
    const x = root(XYZ[0][0] * r + XYZ[0][1] * g + XYZ[0][2] * v);
    const y = root(XYZ[1][0] * r + XYZ[1][1] * g + XYZ[1][2] * v);
    const z = root(XYZ[2][0] * r + XYZ[2][1] * g + XYZ[2][2] * v);
    light[i] = 116 * y - 16;
    a[i] = 500 * (x - y);
    b[i] = 200 * (y - z);
  }
}

// sRGB of one Lab colour, in [-1, 1] only where sRGB has it; written into `into`.
export function toRgb(light, a, b, into) {
  const fy = (light + 16) / 116;
  const [x, y, z] = [cube(fy + a / 500), cube(fy), cube(fy - b / 200)];
  for (let k = 0; k < 3; k++) into[k] = encoded(RGB[k][0] * x + RGB[k][1] * y + RGB[k][2] * z);
}

let table = null;

// The chroma that sRGB has at a lightness (0 to 100) and hue (radians).
export function mostChroma(light, hue) {
  table ??= gamut();
  const turn = hue / (2 * Math.PI);
  let [y, x] = [(light * (LIGHTS - 1)) / 100, (turn - Math.floor(turn)) * (HUES - 1)];
  const [row, column] = [clip(Math.trunc(y), 0, LIGHTS - 2), clip(Math.trunc(x), 0, HUES - 2)];
  [y, x] = [y - row, x - column];
  const place = row * HUES + column;
  const above = table[place] + x * (table[place + 1] - table[place]);
  const below = table[place + HUES] + x * (table[place + HUES + 1] - table[place + HUES]);
  return SAFE * (above + y * (below - above));
}

// The greatest chroma that is inside sRGB, by bisection.
function gamut() {
  const found = new Float32Array(LIGHTS * HUES);
  const rgb = [0, 0, 0];
  for (let i = 0; i < found.length; i++) {
    const light = (Math.floor(i / HUES) * 100) / (LIGHTS - 1);
    const hue = ((i % HUES) * 2 * Math.PI) / (HUES - 1);
    const [cos, sin] = [Math.cos(hue), Math.sin(hue)];
    let [low, high] = [0, 140];
    for (let turn = 0; turn < 14; turn++) {
      const middle = (low + high) / 2;
      toRgb(light, middle * cos, middle * sin, rgb);
      if (rgb.every((value) => Math.abs(value) <= 1)) low = middle;
      else high = middle;
    }
    found[i] = low;
  }
  return found;
}
