// Looks at the camera's own picture, here and nowhere else, and says how the light is.

import { say } from "./words.js";

const EVERY_MS = 400;
const WIDTH = 64, HEIGHT = 48;
const DARK = 60, BRIGHT = 205; // of 255, mean of the middle
const BACKLIT = 1.7; // times brighter around than in the middle

export class GreenRoom {
  constructor(video, { advice, meter }) {
    Object.assign(this, { video, advice, meter, timer: 0 });
    const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
  }

  open() {
    this.close();
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  close() {
    clearInterval(this.timer);
  }

  look() {
    if (!this.video.videoWidth) return;
    this.context.drawImage(this.video, 0, 0, WIDTH, HEIGHT);
    const { middle, around } = brightness(this.context.getImageData(0, 0, WIDTH, HEIGHT).data);
    this.meter.value = Math.round((100 * middle) / 255);
    const key = middle < DARK ? (around > BACKLIT * middle && around > DARK ? "backlit" : "tooDark") : around > BACKLIT * middle ? "backlit" : middle > BRIGHT ? "tooBright" : "goodLight";
    if (this.advice.dataset.say === key) return; // a screen reader would read it again
    this.advice.dataset.say = key;
    this.advice.textContent = `${say("checking")}. ${say(key)}`;
  }
}

function brightness(pixels) {
  const sums = { middle: [0, 0], around: [0, 0] };
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) {
      const at = 4 * (y * WIDTH + x);
      const inside = Math.abs(x / WIDTH - 0.5) < 0.16 && Math.abs(y / HEIGHT - 0.5) < 0.3;
      const sum = sums[inside ? "middle" : "around"];
      sum[0] += 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      sum[1]++;
    }
  return { middle: sums.middle[0] / sums.middle[1], around: sums.around[0] / sums.around[1] };
}
