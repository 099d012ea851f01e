// The subject's mask at the photograph's edges, from a coarse guess: tgim/models/editing/painting/outline.py.

import { Maps } from "../images/maps.js";
import { binned, follow, guidedFit, logShares, logit, sigmoid } from "../images/matting.js";
import { widest } from "../images/pieces.js";
import { interpolated } from "../images/resample.js";
import { clip, round } from "../python.js";
import tables from "../tables.js";

const own = tables.outline;

// Refine a guess (1, H, W) of a photograph's subject to its edges: (1, H, W) in [0, 1].
export function refined(photo, guess) {
  const scale = Math.min(1, own.SIZE / Math.max(guess.height, guess.width));
  const [height, width] = [Math.max(1, round(guess.height * scale)), Math.max(1, round(guess.width * scale))];
  if (Math.min(height, width) < 12) return guess;
  const [image, small] = [limited(interpolated(photo, height, width)), interpolated(guess, height, width).data];
  const band = Math.max(2, round(own.BAND * Math.max(height, width)));
  let [inside, outside] = sure(small, height, width, band);
  if (!inside.some((value) => value > 0.5) || !outside.some((value) => value > 0.5)) return guess;
  const plain = own.COLOURLESS * Math.max(0, 1 - variety(image) / own.PLAIN);
  const means = boxMean(new Maps(1, height, width, small), 2 * Math.floor(band / 2) + 1).data;
  const prior = means.map((value) => logit(clip(value, 0.03, 0.97)) + own.BIAS + plain);
  const [low, high] = own.SURE_GUESS;
  const bonus = small.map((value) => own.BONUS * clip((value - low) / (high - low), 0, 1));
  const far = widest(small.map((value) => (value > own.SURE ? 0 : 1)), height, width, own.DEEP * band);
  const colours = binned(image);
  const typical = evidence(colours, far.map((value, i) => 1 - value + 0.1 * inside[i] + 0.01 * small[i]), outside);
  inside = inside.map((value, i) => (typical[i] > own.AGAINST ? value : 0));
  let mask = small;
  for (let turn = 0; turn < own.ROUNDS; turn++) {
    const colour = evidence(colours, inside.map((value, i) => value + 0.02 * mask[i]), outside);
    const nearby = nearbyEvidence(image, inside, outside, 4 * band + 1);
    mask = small.map((value, i) => {
      const odds = bonus[i] + own.TRUST_GUESS * prior[i] + own.TRUST_COLOUR * clip(colour[i], -4, 4) +
        nearby[i];
      return value > own.MAYBE / 3 ? sigmoid(own.SHARPNESS * odds) : 0;
    });
    inside = inside.map((value, i) => (mask[i] > 0.5 ? value : 0));
    outside = outside.map((value, i) => Math.max(value, mask[i] < 0.1 ? 1 : 0));
  }
  const slopes = guidedFit(image, mask, 5, 2e-3);
  const fit = follow(photo, interpolated(slopes, guess.height, guess.width));
  return new Maps(1, guess.height, guess.width, fit);
}

function limited(maps) {
  return new Maps(maps.count, maps.height, maps.width, maps.data.map((value) => clip(value, -1, 1)));
}

// Weights of pixels that are inside and outside for sure; thin parts are inside, less surely.
function sure(guess, height, width, band) {
  const likely = guess.map((value) => (value > own.SURE ? 1 : 0));
  const core = widest(likely.map((value) => 1 - value), height, width, band).map((value) => 1 - value);
  const wide = widest(core, height, width, 2 * band);
  const inside = core.map((value, i) => Math.max(value, 0.3 * likely[i] * (1 - wide[i])));
  const near = widest(guess.map((value) => (value > own.MAYBE ? 1 : 0)), height, width, 1);
  return [inside, near.map((value) => 1 - value)];
}

// Standard deviation of red minus green and of green minus blue, the larger of both.
function variety(image) {
  const [red, green, blue] = image.planes();
  const deviation = (a, b) => {
    const values = a.map((value, i) => value - b[i]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  };
  return Math.max(deviation(red, green), deviation(green, blue));
}

// How much commoner each pixel's colour is inside than outside, as a logarithm.
function evidence(colours, inside, outside) {
  const [within, without] = [logShares(colours, inside), logShares(colours, outside.map((value) => value + 1e-4))];
  return Float32Array.from(colours, (colour) => within[colour] - without[colour]);
}

// Evidence for the inside from the colours of known pixels in the window around each pixel.
function nearbyEvidence(image, inside, outside, window) {
  const within = logLikelihood(image, inside.map((value, i) => value + 1e-4 * outside[i]), window, own.NOISE[0]);
  const beyond = logLikelihood(image, outside.map((value, i) => value + 1e-4 * inside[i]), window, own.NOISE[1]);
  const [near, far] = [within.known, beyond.known];
  return near.map((share, i) => {
    const told = clip(Math.min(share, far[i]) / own.FEW, 0, 1);
    const ratio = (within.density[i] - beyond.density[i]) * told;
    return clip(ratio, -own.MOST, own.MOST) + own.SHARE * (share / (share + far[i]) - 0.5);
  });
}

// A stack of maps of 64-bit floats.
function precise(height, width, planes) {
  const found = new Maps(planes.length, height, width, new Float64Array(planes.length * height * width));
  planes.forEach((plane, i) => found.data.set(plane, i * found.size));
  return found;
}

// Logarithm of each pixel's density under the normal distribution of the colours around it, less a constant, and the
// mean weight in the window.
function logLikelihood(image, weight, window, noise) {
  const [red, green, blue] = image.planes();
  const times = (a, b) => Float64Array.from(weight, (value, i) => value * (a[i] * b[i])); // variances are small differences
  const once = (a) => Float64Array.from(weight, (value, i) => value * a[i]);
  const products = [times(red, red), times(red, green), times(red, blue), times(green, green), times(green, blue)];
  const weighed = [weight, once(red), once(green), once(blue), ...products, times(blue, blue)];
  const [sums, ...means] = boxMean(precise(image.height, image.width, weighed), window).planes();
  const known = sums.map((value) => Math.max(1e-6, value));
  for (const plane of means) for (let i = 0; i < plane.length; i++) plane[i] /= known[i];
  const [mr, mg, mb, rr, rg, rb, gg, gb, bb] = means;
  const least = noise * noise;
  const density = known.map((_, i) => {
    const spread = (square, mean) => Math.max(0, square[i] - mean[i] * mean[i]) + least;
    const [vr, vg, vb] = [spread(rr, mr), spread(gg, mg), spread(bb, mb)];
    const [crg, crb, cgb] = [rg[i] - mr[i] * mg[i], rb[i] - mr[i] * mb[i], gb[i] - mg[i] * mb[i]];
    const [lg, lb] = [crg / vr, crb / vr]; // covariance = L D L^T
    const dg = Math.max(least, vg - lg * crg);
    const rest = cgb - lg * crb;
    const lgb = rest / dg;
    const db = Math.max(least, vb - lb * crb - lgb * rest);
    const x = red[i] - mr[i];
    const y = green[i] - mg[i] - lg * x;
    const z = blue[i] - mb[i] - lb * x - lgb * y;
    return -((x * x) / vr + (y * y) / dg + (z * z) / db + Math.log(vr * dg * db)) / 2;
  });
  return { density, known };
}

// Means over `window` x `window` pixels, borders repeated; as fast for wide windows as for small.
function boxMean(maps, window) {
  const half = Math.floor(window / 2);
  const { height, width } = maps;
  const found = new Maps(maps.count, height, width, new maps.data.constructor(maps.data.length));
  const down = new Float64Array(maps.size);
  for (let k = 0; k < maps.count; k++) {
    const [plane, out] = [maps.plane(k), found.plane(k)];
    for (let x = 0; x < width; x++) sweep(height, (y) => plane[y * width + x], (y, sum) => (down[y * width + x] = sum));
    for (let y = 0; y < height; y++) {
      sweep(width, (x) => down[y * width + x], (x, sum) => (out[y * width + x] = sum / (window * window)));
    }
  }
  return found;

  // Sums over the window at each place of a line.
  function sweep(length, read, write) {
    let sum = 0;
    for (let i = -half; i <= half; i++) sum += read(clip(i, 0, length - 1));
    for (let i = 0; i < length; i++) {
      write(i, sum);
      sum += read(Math.min(i + half + 1, length - 1)) - read(Math.max(i - half, 0));
    }
  }
}
