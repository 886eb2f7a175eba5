// What sender and viewer share of the page: its elements, what it says, and what it remembers.

import { say } from "./words.js";

export const $ = (id) => document.getElementById(id);

export const kept = (name, otherwise = "") => localStorage.getItem(name) ?? otherwise;
export const keep = (name, value) => localStorage.setItem(name, value);

let kind = "idle", key = "off";

// Says how things are: of a kind ("idle", "wait", "live", "error"), in a word of words.js.
export function show(newKind = kind, newKey = key) {
  [kind, key] = [newKind, newKey];
  $("state").dataset.kind = kind;
  if ($("state").textContent !== say(key)) $("state").textContent = say(key); // a screen reader would read it again
}
document.addEventListener("translated", () => show());

const CAMERA = { NotAllowedError: "notAllowed", NotFoundError: "notFound", NotReadableError: "inUse", OverconstrainedError: "notFound" };

export function fail(error) {
  const text = error.name in CAMERA ? say(CAMERA[error.name]) : error.message + (error.retry ? ` (${error.retry} s)` : "");
  $("error").textContent = text;
  $("error").hidden = false;
  show("error", "wrong");
}

export function calm() {
  $("error").hidden = true;
}
