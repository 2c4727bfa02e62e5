"use strict";
// What is shown is made of elements and text nodes alone: nothing that a record holds is ever read as HTML.
const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Control characters, marks that turn the direction of text, and halves of surrogate pairs, made visible.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Cs}/gu;
const shown = (text) =>
  String(text).replace(HIDDEN, (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));

const MEASURES = {
  score: "Score", share: "Share of the photo", distance: "Distance", sigma: "Noise level (sigma)", largest: "Largest value",
};
const SIZES = { small: 150, medium: 220, large: 340 }; // px, at least
const SIZES_OF_PHONES = { small: 100, medium: 150, large: 280 };
const START = {
  q: "", labels: [], tasks: [], outcome: "all", least: null, most: null, sort: "input",
  boxes: true, masks: true, size: "medium",
};

const entries = JSON.parse(byId("entries").textContent);
entries.forEach((entry, place) => {
  entry.place = place;
  const words = [entry.name, entry.task, entry.failure, entry.note, ...entry.marks.map((mark) => mark[0]), ...entry.words];
  entry.text = words.filter(Boolean).join("\n").toLowerCase();
});
const tasks = [...new Set(entries.map((entry) => entry.task))];
const labelColours = new Map();
for (const entry of entries) for (const [label, , colour] of entry.marks) if (label !== null) labelColours.set(label, colour);

const details = (entry) => JSON.parse(byId("entry-" + entry.place).textContent);
const state = { ...START, ...fromHash() };
let visible = entries; // those that pass the filters, in the order of the page

function fromHash() {
  const found = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (found.has(name) && isFinite(found.get(name)) ? Number(found.get(name)) : null);
  const one = (name, allowed, otherwise) => (allowed.includes(found.get(name)) ? found.get(name) : otherwise);
  return {
    q: found.get("q") || "",
    labels: found.getAll("label").filter((label) => labelColours.has(label)),
    tasks: found.getAll("task").filter((task) => tasks.includes(task)),
    outcome: one("outcome", ["ok", "failed"], "all"),
    least: number("least"),
    most: number("most"),
    sort: one("sort", [...byId("sort").options].map((option) => option.value), "input"),
    boxes: found.get("boxes") !== "off",
    masks: found.get("masks") !== "off",
    size: one("size", Object.keys(SIZES), "medium"),
  };
}

let writing = 0; // a timer: browsers refuse an address that changes with every letter that is typed
let written = location.hash;

function toHash() {
  clearTimeout(writing);
  writing = setTimeout(writeHash, 150);
}

function writeHash() {
  writing = 0;
  const words = new URLSearchParams();
  for (const name of ["q", "outcome", "sort", "size", "least", "most"]) if (state[name] !== START[name]) words.set(name, state[name]);
  for (const label of state.labels) words.append("label", label);
  for (const task of state.tasks) words.append("task", task);
  for (const name of ["boxes", "masks"]) if (!state[name]) words.set(name, "off");
  const opened = openedEntry();
  if (opened) words.set("open", opened.place);
  written = "#" + words;
  if (written === (location.hash || "#")) return;
  try {
    history.replaceState(null, "", written);
  } catch {
    location.replace(written); // a browser that lets no file: page change its history
  }
}
