// Rectangles on the picture that are always covered: by finger, mouse or keyboard.

import { say } from "./words.js";

const STEP = 2, LEAST = 4, MOST = 8; // percent of the picture; rectangles
const NEW = [35, 35, 30, 30];
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Regions {
  constructor({ layer, video, changed }) {
    Object.assign(this, { layer, video, changed, all: [] });
    new ResizeObserver(() => this.draw()).observe(video);
    video.addEventListener("resize", () => this.draw());
  }

  // As the server has them, from the top left of the picture as it is sent; the page shows it mirrored.
  get texts() {
    return this.all.map(([x, y, w, h]) => [100 - x - w, y, w, h].map((one) => `${one.toFixed(1)}%`).join(","));
  }

  add() {
    if (this.all.length >= MOST) return;
    this.all.push([...NEW]);
    this.draw();
    this.layer.lastChild.focus();
    this.changed();
  }

  clear() {
    this.all = [];
    this.draw();
  }

  draw() {
    const { videoWidth: width, videoHeight: height, clientWidth, clientHeight } = this.video;
    const scale = Math.min(clientWidth / width, clientHeight / height) || 0;
    Object.assign(this.layer.style, { width: `${width * scale}px`, height: `${height * scale}px` });
    while (this.layer.children.length > this.all.length) this.layer.lastChild.remove();
    while (this.layer.children.length < this.all.length) this.layer.append(this.made(this.layer.children.length));
    this.all.forEach((box, n) => {
      const one = this.layer.children[n];
      one.setAttribute("aria-label", `${say("region")} ${n + 1}. ${say("regionKeys")}`);
      ["left", "top", "width", "height"].forEach((side, i) => (one.style[side] = `${box[i]}%`));
    });
  }

  made(n) {
    const one = Object.assign(document.createElement("button"), { type: "button" });
    one.append(document.createElement("i"));
    one.onkeydown = (event) => this.pressed(event, n);
    one.onpointerdown = (event) => this.dragged(event, one, n);
    return one;
  }

  pressed(event, n) {
    if (event.key === "Delete" || event.key === "Backspace") {
      this.all.splice(n, 1);
      this.draw();
      (this.layer.lastChild ?? document.getElementById("region")).focus();
    } else if (MOVES[event.key]) this.move(n, this.all[n], MOVES[event.key], event.shiftKey);
    else return;
    event.preventDefault();
    this.changed();
  }

  dragged(event, one, n) {
    const from = [...this.all[n]], isCorner = event.target !== one;
    one.setPointerCapture(event.pointerId);
    one.onpointermove = ({ clientX, clientY }) => {
      const { width, height } = this.layer.getBoundingClientRect();
      this.move(n, from, [(100 * (clientX - event.clientX)) / width, (100 * (clientY - event.clientY)) / height], isCorner);
    };
    one.onpointerup = one.onpointercancel = () => {
      one.onpointermove = one.onpointerup = one.onpointercancel = null;
      this.changed();
    };
  }

  move(n, [x, y, w, h], [right, down], isSize) {
    const within = (value, low, high) => Math.min(Math.max(value, low), high);
    this.all[n] = isSize
      ? [x, y, within(w + right, LEAST, 100 - x), within(h + down, LEAST, 100 - y)]
      : [within(x + right, 0, 100 - w), within(y + down, 0, 100 - h), w, h];
    this.draw();
  }
}
