// Pieces of masks: which pixels hang together, and how far they reach. tgim/images/pieces.py.

// Number the pieces of a mask from 1 in the order of their first pixels, row by row; by corners, too, if so told.
export function labelled(mask, height, width, corners = true) {
  const labels = new Int32Array(mask.length);
  const waiting = new Int32Array(mask.length);
  const steps = corners ? [-1, 0, 1] : [0];
  let count = 0;
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    labels[start] = ++count;
    waiting[0] = start;
    for (let left = 1; left > 0;) {
      const at = waiting[--left];
      const [y, x] = [Math.floor(at / width), at % width];
      const visit = (row, column) => {
        const next = row * width + column;
        if (row < 0 || row >= height || column < 0 || column >= width || !mask[next] || labels[next]) return;
        labels[next] = count;
        waiting[left++] = next;
      };
      for (const step of steps) {
        visit(y - 1, x + step);
        visit(y + 1, x + step);
      }
      visit(y, x - 1);
      visit(y, x + 1);
    }
  }
  return { labels, count };
}

// The greatest value within `radius` pixels, a square.
export function widest(values, height, width, radius) {
  const across = new Float32Array(values.length);
  const found = new Float32Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let most = -Infinity;
      for (let i = Math.max(0, x - radius), end = Math.min(width - 1, x + radius); i <= end; i++) {
        most = Math.max(most, values[y * width + i]);
      }
      across[y * width + x] = most;
    }
  }
  for (let y = 0; y < height; y++) {
    const [first, last] = [Math.max(0, y - radius), Math.min(height - 1, y + radius)];
    for (let x = 0; x < width; x++) {
      let most = -Infinity;
      for (let i = first; i <= last; i++) most = Math.max(most, across[i * width + x]);
      found[y * width + x] = most;
    }
  }
  return found;
}

// First and one past the last row and column that hold anything; null where none does.
export function bounds(mask, height, width) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!mask[at]) continue;
      top = Math.min(top, y);
      bottom = y + 1;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
    }
  }
  return bottom ? { top, bottom, left, right } : null;
}
