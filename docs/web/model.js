// Engine and models: fetched from beside the page, decompressed, and put together as docs/browser.py took them apart.

import { Maps } from "./images/maps.js";
import { UserError } from "./python.js";

const MEGABYTE = 1e6;
let engine = null; // onnxruntime-web, once it is loaded
let received = 0; // bytes of what is being loaded

// A model by its name: `parts`, `words`, `together`, `imageSize`, and `look`.
export async function loadModel(name, base, tell) {
  received = 0;
  const [ort, content] = await Promise.all([(engine ??= loadEngine(base, tell)), fetched(`${base}${name}.bin`, tell)]);
  tell("Starting the editor");
  const { facts, graph } = unpacked(content);
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  const shape = [1, 3, facts.image_size, facts.image_size];
  return {
    parts: facts.parts,
    words: facts.words,
    together: facts.together,
    imageSize: facts.image_size,
    async look(picture) {
      const { maps, present } = await session.run({ pictures: new ort.Tensor("float32", picture.data, shape) });
      const [, count, height, width] = maps.dims;
      return { maps: new Maps(count, height, width, maps.data), present: present.data[0] };
    },
  };
}

async function loadEngine(base, tell) {
  try {
    const [ort, binary] = await Promise.all([import("./ort.mjs"), fetched(`${base}engine.bin`, tell)]);
    Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmBinary: binary, wasmPaths: { mjs: `${base}ort-module.mjs` } });
    return ort;
  } catch (error) {
    engine = null;
    throw error;
  }
}

// The bytes of a compressed file; a host may have decompressed it on the way.
async function fetched(address, tell) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new UserError("the editor cannot be loaded; is the connection still there?");
  }
  if (!answer.ok) throw new UserError(`the editor cannot be loaded: ${address.split("/").at(-1)} is missing (${answer.status})`);
  const content = new Uint8Array(await new Response(answer.body.pipeThrough(counted(tell))).arrayBuffer());
  if (content[0] !== 0x1f || content[1] !== 0x8b) return content;
  const plain = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

function counted(tell) {
  return new TransformStream({
    transform(piece, out) {
      received += piece.byteLength;
      tell(`Loading the editor: ${(received / MEGABYTE).toFixed(1)} MB`);
      out.enqueue(piece);
    },
  });
}

// Facts of a packed model, and its graph in ONNX with all weights.
function unpacked(content) {
  const end = content.indexOf(10);
  const facts = JSON.parse(new TextDecoder().decode(content.subarray(0, end)));
  const count = ({ shape }) => shape.reduce((a, b) => a * b, 1);
  const coarse = facts.tensors.filter((tensor) => tensor.coarse);
  const fine = facts.tensors.filter((tensor) => !tensor.coarse);
  let at = end + 1;
  const take = (length) => content.subarray(at, (at += length));
  const graph = take(facts.graph);
  const scales = coarse.map(({ shape }) => new Float32Array(take(4 * shape[0]).slice().buffer));
  coarse.forEach((tensor, i) => {
    const bytes = new Int8Array(take(count(tensor)).slice().buffer);
    const each = bytes.length / tensor.shape[0];
    tensor.values = Float32Array.from(bytes, (value, k) => value * scales[i][Math.floor(k / each)]);
  });
  const all = fine.reduce((sum, tensor) => sum + count(tensor), 0);
  const [high, low] = [take(all), take(all)];
  const table = halves();
  let start = 0;
  for (const tensor of fine) {
    tensor.values = Float32Array.from({ length: count(tensor) }, (_, i) => table[(high[start + i] << 8) | low[start + i]]);
    start += tensor.values.length;
  }
  const weights = facts.tensors.map(({ name, shape, values }) => field(5, [
    ...shape.map((length) => number(1, length)), number(2, 1), ...field(8, [new TextEncoder().encode(name)]),
    ...field(9, [new Uint8Array(values.buffer)]),
  ]));
  return { facts, graph: joined([graph, ...field(7, weights.flat())]) };
}

// The values of all 16-bit floats.
function halves() {
  return Float32Array.from({ length: 65536 }, (_, bits) => {
    const [sign, exponent, rest] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
  });
}

// Protocol Buffers, as tgim/checkpoints/graphs.py writes them: lists of pieces.
function field(key, pieces) {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return [varint((key << 3) | 2), varint(length), ...pieces];
}

function number(key, value) {
  return joined([varint(key << 3), varint(value)]);
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return Uint8Array.from([...bytes, value]);
}

function joined(pieces) {
  const found = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    found.set(piece, at);
    at += piece.length;
  }
  return found;
}
