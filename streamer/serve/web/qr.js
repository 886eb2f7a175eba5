// Draws a QR code (ISO/IEC 18004): bytes, error correction M, versions 1 to 10, which hold 213 bytes.

// Of each version: codewords of data in all, codewords of correction in a block, blocks, centres of alignment patterns.
const VERSIONS = [
  [16, 10, 1, []], [28, 16, 1, [6, 18]], [44, 26, 1, [6, 22]], [64, 18, 2, [6, 26]], [86, 24, 2, [6, 30]],
  [108, 16, 4, [6, 34]], [124, 18, 4, [6, 22, 38]], [154, 22, 4, [6, 24, 42]], [182, 22, 5, [6, 26, 46]], [216, 26, 5, [6, 28, 50]],
];
const EXP = new Uint8Array(512), LOG = new Uint8Array(256);
for (let n = 0, value = 1; n < 255; n++) {
  EXP[n] = EXP[n + 255] = value;
  LOG[value] = n;
  value = (value << 1) ^ (value & 128 ? 0x11d : 0);
}

// Returns the rows of a code, true where it is dark.
export function code(text) {
  const bytes = new TextEncoder().encode(text);
  const number = VERSIONS.findIndex(([data], n) => bytes.length + (n < 9 ? 2 : 3) <= data);
  if (number < 0) throw new Error("too long for a QR code");
  const words = interleaved(packed(bytes, number), number);
  let best = null;
  for (let mask = 0; mask < 8; mask++) {
    const grid = drawn(number, words, mask), cost = penalty(grid);
    if (!best || cost < best.cost) best = { grid, cost };
  }
  return best.grid;
}

function packed(bytes, number) {
  const bits = [];
  const put = (value, length) => { for (let n = length - 1; n >= 0; n--) bits.push((value >> n) & 1); };
  put(4, 4);
  put(bytes.length, number < 9 ? 8 : 16);
  bytes.forEach((byte) => put(byte, 8));
  const room = VERSIONS[number][0] * 8;
  put(0, Math.min(4, room - bits.length));
  while (bits.length % 8) bits.push(0);
  const words = [];
  for (let n = 0; n < bits.length; n += 8) words.push(parseInt(bits.slice(n, n + 8).join(""), 2));
  for (let n = 0; words.length < VERSIONS[number][0]; n++) words.push(n % 2 ? 0x11 : 0xec);
  return words;
}

function interleaved(words, number) {
  const [data, correction, blocks] = VERSIONS[number], short = Math.floor(data / blocks), long = data % blocks;
  const parts = [];
  for (let n = 0, from = 0; n < blocks; n++) {
    const length = short + (n >= blocks - long ? 1 : 0);
    parts.push(words.slice(from, (from += length)));
  }
  const checks = parts.map((part) => remainder(part, correction)), out = [];
  for (let n = 0; n <= short; n++) parts.forEach((part) => n < part.length && out.push(part[n]));
  for (let n = 0; n < correction; n++) checks.forEach((check) => out.push(check[n]));
  return out;
}

function remainder(part, degree) {
  let divisor = [1];
  for (let n = 0; n < degree; n++) divisor = product(divisor, EXP[n]);
  const rest = [...part, ...new Array(degree).fill(0)];
  for (let n = 0; n < part.length; n++) {
    const factor = rest[n];
    if (factor) divisor.forEach((one, k) => (rest[n + k] ^= one && EXP[LOG[one] + LOG[factor]]));
  }
  return rest.slice(part.length);
}

function product(polynomial, root) {
  const out = [...polynomial, 0];
  polynomial.forEach((one, n) => (out[n + 1] ^= one && EXP[LOG[one] + LOG[root]]));
  return out;
}

function drawn(number, words, mask) {
  const size = 21 + 4 * number, grid = Array.from({ length: size }, () => new Array(size).fill(null));
  const set = (x, y, dark) => { if (x >= 0 && y >= 0 && x < size && y < size) grid[y][x] = Boolean(dark); };
  for (const [left, top] of [[0, 0], [size - 7, 0], [0, size - 7]])
    for (let y = -1; y < 8; y++)
      for (let x = -1; x < 8; x++) {
        const ring = Math.max(Math.abs(x - 3), Math.abs(y - 3));
        set(left + x, top + y, ring !== 2 && ring < 4);
      }
  for (let n = 8; n < size - 8; n++) { set(n, 6, n % 2 === 0); set(6, n, n % 2 === 0); }
  const centres = VERSIONS[number][3], last = centres.length - 1;
  centres.forEach((y, i) => centres.forEach((x, j) => {
    if ((i === 0 && (j === 0 || j === last)) || (i === last && j === 0)) return;
    for (let dy = -2; dy < 3; dy++) for (let dx = -2; dx < 3; dx++) set(x + dx, y + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
  }));
  format(size, set, mask);
  if (number >= 6) version(size, set, number + 1);
  fill(grid, size, words, mask);
  return grid;
}

function format(size, set, mask) {
  let rest = mask; // level M is 00
  for (let n = 0; n < 10; n++) rest = (rest << 1) ^ (rest >> 9 ? 0x537 : 0);
  const bits = ((mask << 10) | rest) ^ 0x5412, bit = (n) => (bits >> n) & 1;
  for (let n = 0; n < 6; n++) set(8, n, bit(n));
  set(8, 7, bit(6)); set(8, 8, bit(7)); set(7, 8, bit(8));
  for (let n = 9; n < 15; n++) set(14 - n, 8, bit(n));
  for (let n = 0; n < 8; n++) set(size - 1 - n, 8, bit(n));
  for (let n = 8; n < 15; n++) set(8, size - 15 + n, bit(n));
  set(8, size - 8, true);
}

function version(size, set, number) {
  let rest = number;
  for (let n = 0; n < 12; n++) rest = (rest << 1) ^ (rest >> 11 ? 0x1f25 : 0);
  const bits = (number << 12) | rest;
  for (let n = 0; n < 18; n++) {
    const a = size - 11 + (n % 3), b = Math.floor(n / 3);
    set(a, b, (bits >> n) & 1);
    set(b, a, (bits >> n) & 1);
  }
}

const MASKS = [
  (x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2, (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

function fill(grid, size, words, mask) {
  let n = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const isUp = ((right + 1) & 2) === 0;
    for (let k = 0; k < size; k++)
      for (const x of [right, right - 1]) {
        const y = isUp ? size - 1 - k : k;
        if (grid[y][x] !== null) continue;
        const dark = n < words.length * 8 && (words[n >> 3] >> (7 - (n & 7))) & 1;
        grid[y][x] = Boolean(dark) !== (MASKS[mask](x, y) === 0);
        n++;
      }
  }
}

function penalty(grid) {
  const size = grid.length, columns = grid.map((_, x) => grid.map((row) => row[x]));
  let cost = 0, dark = 0;
  for (const line of [...grid, ...columns]) {
    for (const run of line.map(Number).join("").match(/(.)\1*/g)) if (run.length >= 5) cost += run.length - 2;
    const text = line.map(Number).join("");
    for (let n = 0; n + 11 <= size; n++) if (["10111010000", "00001011101"].includes(text.slice(n, n + 11))) cost += 40;
  }
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      dark += grid[y][x];
      if (x && y && new Set([grid[y][x], grid[y - 1][x], grid[y][x - 1], grid[y - 1][x - 1]]).size === 1) cost += 3;
    }
  return cost + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}

// Returns an SVG element of a code, black on white in any theme: scanners ask for it.
export function picture(text) {
  const grid = code(text), size = grid.length + 8, space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  const path = document.createElementNS(space, "path");
  const dots = grid.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")));
  path.setAttribute("d", dots.join(""));
  svg.append(path);
  return svg;
}
