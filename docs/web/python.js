// What Python does otherwise than JavaScript: rounding, quotes around words, likeness of words (difflib).

// An error that its reader can mend: one sentence.
export class UserError extends Error {}

// Round halves to the even neighbour.
export function round(x) {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

export function clip(x, low, high) {
  return x < low ? low : x > high ? high : x;
}

// A string between quotes.
export function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r");
  const shown = inner.replace(/[\p{C}\p{Z}]/gu, (sign) => (sign === " " ? sign : escaped(sign.codePointAt(0))));
  return mark + (mark === "'" ? shown.replaceAll("'", "\\'") : shown) + mark;
}

function escaped(code) {
  const [letter, digits] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
}

// Compare strings by their code points, as Python sorts them.
export function byCode(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

// Number of characters in the matching blocks of two words (Ratcliff and Obershelp).
export function alike(a, b) {
  const waiting = [[0, a.length, 0, b.length]];
  let total = 0;
  while (waiting.length) {
    const [aLow, aHigh, bLow, bHigh] = waiting.pop();
    const [i, j, size] = longest(a, b, aLow, aHigh, bLow, bHigh);
    if (!size) continue;
    total += size;
    if (aLow < i && bLow < j) waiting.push([aLow, i, bLow, j]);
    if (i + size < aHigh && j + size < bHigh) waiting.push([i + size, aHigh, j + size, bHigh]);
  }
  return total;
}

function longest(a, b, aLow, aHigh, bLow, bHigh) {
  let best = [aLow, bLow, 0];
  let lengths = new Map();
  for (let i = aLow; i < aHigh; i++) {
    const next = new Map();
    for (let j = bLow; j < bHigh; j++) {
      if (a[i] !== b[j]) continue;
      const size = (lengths.get(j - 1) ?? 0) + 1;
      next.set(j, size);
      if (size > best[2]) best = [i - size + 1, j - size + 1, size];
    }
    lengths = next;
  }
  return best;
}

// The words that are most like one, best first: `difflib.get_close_matches`.
export function closeMatches(word, words, count, cutoff) {
  const found = [];
  for (const each of words) {
    const most = Math.min(word.length, each.length);
    if ((2 * most) / (word.length + each.length) < cutoff) continue;
    const ratio = (2 * alike(each, word)) / (word.length + each.length);
    if (ratio >= cutoff) found.push([ratio, each]);
  }
  found.sort((one, two) => two[0] - one[0] || byCode(two[1], one[1]));
  return found.slice(0, count).map(([, each]) => each);
}

// Items without those at the front that fit.
export function dropWhile(items, fits) {
  const first = items.findIndex((each) => !fits(each));
  return first < 0 ? [] : items.slice(first);
}
