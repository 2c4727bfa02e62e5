// One record, large: the photo itself where the browser can load it, what was found, and the whole record.
const large = byId("large");
let opened = null; // { position, entry, parts }

const openedEntry = () => opened?.entry;

function open(position) {
  const entry = visible[position];
  if (!entry) return;
  opened = { position, entry, parts: details(entry) };
  byId("position").textContent = `${position + 1} of ${visible.length}`;
  byId("previous").disabled = position === 0;
  byId("next").disabled = position === visible.length - 1;
  byId("name").textContent = shown(entry.name);
  byId("sentence").textContent = shown(entry.failure || entry.note || "");
  byId("sentence").className = entry.ok ? "" : "bad";
  byId("found").replaceChildren(...found(entry, opened.parts));
  byId("record").tBodies[0].replaceChildren(...rows(opened.parts.record));
  large.setAttribute("aria-label", spoken(entry));
  if (!large.open) large.showModal();
  byId("slider").value = 50;
  showPictures();
  toHash();
}

function close() {
  const position = opened?.position ?? 0;
  opened = null;
  large.close();
  byId("pictures").replaceChildren();
  toHash();
  moveTo(position);
}

/** The shapes of the first picture, or where nothing is drawn the marks. */
function found(entry, parts) {
  const drawnShapes = parts.views[0].shapes || [];
  const labelled = entry.marks.filter((mark) => mark[0] !== null);
  const instances = drawnShapes.length > 0 && entry.task !== "verify-face";
  const marks = instances ? drawnShapes.map(({ label, score, colour }) => [label, score, colour]) : labelled;
  const further = (parts.record.classes || []).slice(1).map(({ label, score }) => [label, score, null]);
  return [...marks, ...further].map((mark) => make("li", {}, ...chip(mark, instances ? "score" : entry.measure)));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const row = (name, ...content) => make("tr", {}, make("th", { scope: "row" }, shown(name)), make("td", {}, ...content));

/** Rows of a table: what stands within a value follows it under its own name. */
function rows(record, before = "") {
  return Object.entries(record).flatMap(([name, value]) => {
    if (isObject(value)) return rows(value, `${before}${name} \u203a `);
    if (Array.isArray(value) && value.some(isObject)) return [row(before + name, folded(value))];
    return [row(before + name, plain(value))];
  });
}

function folded(values) {
  const summary = make("summary", {}, `${values.length} ${values.length === 1 ? "entry" : "entries"}`);
  const bodies = values.map((value) => make("table", {}, make("tbody", {}, ...rows(isObject(value) ? value : { value }))));
  return make("details", {}, summary, ...bodies);
}

function plain(value) {
  if (!Array.isArray(value)) return shown(value ?? "\u2013");
  return value.length ? value.map((part) => (Array.isArray(part) ? `(${plain(part)})` : shown(part))).join(", ") : "none";
}

/** Draws the pictures into the space that there is. */
function showPictures() {
  if (!opened) return;
  const { views, compare } = opened.parts;
  const space = byId("pictures");
  space.replaceChildren();
  const one = compare && views.every((view) => view.picture);
  byId("slider-part").hidden = !one;
  const upright = space.clientWidth < space.clientHeight && !one;
  space.style.flexDirection = upright ? "column" : "row";
  const count = one ? 1 : views.length;
  const width = upright ? space.clientWidth : (space.clientWidth - 14 * (count - 1)) / count;
  const height = (upright ? (space.clientHeight - 14 * (count - 1)) / count : space.clientHeight) - (count > 1 ? 26 : 0);
  if (one) {
    space.append(sliding(compared(views, width, height)));
    split(space.firstChild, byId("slider").value);
  } else {
    space.append(...views.map((view) => framed(view, width, height, count > 1)));
    space.querySelectorAll(".stack").forEach(spread);
  }
  space.querySelectorAll(".photo").forEach((image, number) => sharpen(image, views[number]));
}

function framed(view, width, height, named) {
  const element = view.picture ? stack(view, width, height) : gone(view);
  if (view.picture) for (const shape of view.shapes) element.append(plate(shape, view));
  const figure = make("figure", {}, element);
  figure.style.maxWidth = `${width}px`;
  if (named) figure.append(make("figcaption", { dir: "auto", title: shown(view.name) }, shown(view.short)));
  return figure;
}

/** The label of a shape, above its box where there is room. */
function plate({ label, score, colour, box: [x, y] }, view) {
  const text = score === null ? shown(label) : `${shown(label)} ${score.toFixed(2)}`;
  const element = make("div", { className: "plate" + (dark(colour) ? " light" : ""), dir: "auto" }, text);
  element.style.background = colour;
  element.style.left = `${Math.min(95, (100 * x) / view.width)}%`;
  element.style.top = `max(0px, calc(${(100 * y) / view.height}% - 18px))`;
  return element;
}

/** Moves labels down, line by line, until none covers a better one; where there is no such place they stay. */
function spread(element) {
  const taken = [];
  const end = element.clientHeight;
  for (const plate of element.querySelectorAll(".plate")) {
    const [left, right, height] = [plate.offsetLeft, plate.offsetLeft + plate.offsetWidth, plate.offsetHeight];
    const free = (top) => taken.every((other) => left >= other.right || right <= other.left || top >= other.bottom || top + height <= other.top);
    let top = plate.offsetTop;
    while (!free(top) && top + height <= end) top += height;
    if (top + height > end) top = plate.offsetTop;
    plate.style.top = `${top}px`;
    taken.push({ left, right, top, bottom: top + height });
  }
}

function dark(colour) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140;
}

/** Puts the photo itself in the place of its thumbnail once it has loaded; where it does not, the thumbnail stays. */
function sharpen(image, view) {
  if (!image || !view.url) return;
  const original = new Image();
  original.onload = () => { image.src = view.url; };
  original.src = view.url;
}

/** The dividing line follows the pointer. */
function sliding(element) {
  const follow = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const place = element.getBoundingClientRect();
    byId("slider").value = (100 * (event.clientX - place.left)) / place.width;
    split(element, byId("slider").value);
  };
  element.classList.add("compared");
  element.addEventListener("pointerdown", (event) => (element.setPointerCapture(event.pointerId), follow(event)));
  element.addEventListener("pointermove", follow);
  return element;
}
