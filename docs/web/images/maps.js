// Stacks of maps (count, height, width) of 32-bit floats, and photographs.

export class Maps {
  constructor(count, height, width, data = new Float32Array(count * height * width)) {
    Object.assign(this, { count, height, width, data, size: height * width });
  }

  plane(i) {
    return this.data.subarray(i * this.size, (i + 1) * this.size);
  }

  planes() {
    return Array.from({ length: this.count }, (_, i) => this.plane(i));
  }

  // A stack of some of the maps.
  static of(height, width, planes) {
    const found = new Maps(planes.length, height, width);
    planes.forEach((plane, i) => found.data.set(plane, i * found.size));
    return found;
  }
}

// Colours of the levels 0 to 255.
export const LIGHT_OF_LEVEL = Float32Array.from({ length: 256 }, (_, level) => Math.fround(level / 127.5) - 1);

// A photograph by its levels, red, green, blue and alpha of each pixel; colours are read as floats in [-1, 1].
export class Photo {
  constructor(levels, width, height) {
    Object.assign(this, { levels, width, height });
  }

  // One row of a channel, from column `left` on.
  row(channel, y, left, into) {
    let at = 4 * (y * this.width + left) + channel;
    for (let x = 0; x < into.length; x++, at += 4) into[x] = LIGHT_OF_LEVEL[this.levels[at]];
  }

  // The colours (3, height, width) of a rectangle.
  part({ left, top, right, bottom }) {
    const found = new Maps(3, bottom - top, right - left);
    for (let channel = 0; channel < 3; channel++) {
      for (let y = top; y < bottom; y++) {
        const start = channel * found.size + (y - top) * found.width;
        this.row(channel, y, left, found.data.subarray(start, start + found.width));
      }
    }
    return found;
  }
}

// A small copy of a photograph, by its colours (3, H, W).
export class SmallPhoto {
  constructor(colours) {
    Object.assign(this, { colours, width: colours.width, height: colours.height });
  }

  row(channel, y, left, into) {
    const start = channel * this.colours.size + y * this.width + left;
    into.set(this.colours.data.subarray(start, start + into.length));
  }

  part(rectangle) {
    return Photo.prototype.part.call(this, rectangle);
  }
}
