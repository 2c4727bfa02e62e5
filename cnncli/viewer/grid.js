// Tiles in rows. Only those in sight, and some rows around them, are in the document.
const FOOT = 58, ROWS_AROUND = 2; // px, rows
const grid = byId("grid"), tiles = byId("tiles");
const SVG = "http://www.w3.org/2000/svg";
let columns = 1, tileWidth = 0, mediaHeight = 0, rowHeight = 1, gap = 0, edge = 0; // px, but for the columns
let current = 0; // position among the visible that has, or last had, the focus
const drawn = new Map(); // position -> element

function layout() {
  const narrow = grid.clientWidth < 500;
  [gap, edge] = narrow ? [8, 10] : [14, 16];
  const inner = grid.clientWidth - 2 * edge;
  const least = (narrow ? SIZES_OF_PHONES : SIZES)[state.size];
  columns = Math.max(1, Math.floor((inner + gap) / (least + gap)));
  tileWidth = Math.floor((inner - gap * (columns - 1)) / columns);
  mediaHeight = Math.round(tileWidth * 0.75);
  rowHeight = mediaHeight + FOOT + gap;
  tiles.style.height = `${edge * 2 - gap + Math.ceil(visible.length / columns) * rowHeight}px`;
  for (const element of drawn.values()) element.remove();
  drawn.clear();
  draw();
}

function placed(position, element) {
  element.style.left = `${edge + (position % columns) * (tileWidth + gap)}px`;
  element.style.top = `${edge + Math.floor(position / columns) * rowHeight}px`;
  element.style.width = `${tileWidth}px`;
  element.style.height = `${rowHeight - gap}px`;
  return element;
}

function draw() {
  const first = Math.max(0, Math.floor(grid.scrollTop / rowHeight) - ROWS_AROUND) * columns;
  const rows = Math.ceil(grid.clientHeight / rowHeight) + 1 + 2 * ROWS_AROUND;
  const last = Math.min(visible.length, first + rows * columns);
  for (const [position, element] of drawn) {
    if (position < first || position >= last) {
      if (element.contains(document.activeElement)) continue; // the focus would be lost
      element.remove();
      drawn.delete(position);
    }
  }
  const added = [];
  for (let position = first; position < last; position++) {
    if (drawn.has(position)) continue;
    const element = placed(position, tile(visible[position], position));
    drawn.set(position, element);
    added.push(element);
  }
  tiles.append(...added);
}

/** The visible entries have changed: from the top. */
function restart() {
  current = 0;
  grid.scrollTop = 0;
  layout();
}

function tile(entry, position) {
  const { views, compare } = details(entry);
  const media = make("div", { className: "media" });
  media.style.height = `${mediaHeight}px`;
  media.append(...pictures(views, compare, tileWidth - 2, mediaHeight));
  if (tasks.length > 1) media.append(make("span", { className: "badge" }, entry.task));
  if (!entry.ok) media.append(make("span", { className: "badge bad" }, "failed"));
  const button = make("button", {
    className: "tile", tabIndex: position === current ? 0 : -1, "aria-label": spoken(entry),
    onclick: () => open(position), onfocus: () => setCurrent(position),
  }, media, make("div", { className: "caption" },
    make("div", { className: "name", dir: "auto", title: shown(entry.name) }, shown(views.filter((view) => !view.result).map((view) => view.short).join(" \u2013 ") || entry.name.split("/").pop())), chips(entry, tileWidth < 200 ? 1 : 2)));
  return make("li", {
    className: entry.ok ? "" : "failed", "aria-posinset": position + 1, "aria-setsize": visible.length,
  }, button);
}

/** What a screen reader says of an entry. */
function spoken(entry) {
  const found = entry.marks.map(([label, score]) => [label, score === null ? null : figure(score)].filter((part) => part !== null).join(" "));
  return shown([entry.name, entry.task, entry.failure, entry.note, ...found.slice(0, 10)].filter(Boolean).join(", "));
}

function chips(entry, most) {
  const list = make("div", { className: "chips" });
  if (!entry.ok) return list.append(make("span", { className: "bad", title: shown(entry.failure) }, shown(entry.failure))), list;
  if (entry.note) list.append(make("span", {}, shown(entry.note)));
  const labelled = new Map(); // the best mark of each label, and how many share it
  for (const mark of entry.marks.filter((mark) => mark[0] !== null)) {
    if (labelled.has(mark[0])) labelled.get(mark[0]).count++;
    else labelled.set(mark[0], { mark, count: 1 });
  }
  for (const { mark, count } of [...labelled.values()].slice(0, most)) {
    list.append(make("span", { className: "chip" }, ...chip(mark, entry.measure, count)));
  }
  if (labelled.size > most) list.append(make("span", { className: "rest" }, `+${labelled.size - most}`));
  if (!labelled.size && !entry.note) list.append(make("span", {}, "nothing found"));
  return list;
}

/** A label with its score, or with the number of those that share it. */
function chip([label, score, colour], measure, count = 1) {
  const parts = [make("span", { className: "text", dir: "auto" }, shown(label))];
  if (colour) parts.unshift(dot(colour));
  const figures = count > 1 ? `\u00d7${count}` : score === null ? "" : measured(score, measure);
  if (figures) parts.push(make("span", { className: "score" }, figures));
  return parts;
}

const measured = (score, measure) => (measure === "share" ? `${(100 * score).toFixed(1)} %` : score.toFixed(2));

/** The pictures of an entry in a space of width x height: one, several side by side, or two on one another. */
function pictures(views, compare, width, height) {
  if (compare && views.every((view) => view.picture)) return [compared(views, width, height)];
  const each = (width - 2 * (views.length - 1)) / views.length;
  return views.map((view) => (view.picture ? stack(view, each, height) : gone(view)));
}

const gone = (view) => make("div", { className: "gone" }, shown(view.missing));

/** A photo with its areas and shapes, as large as fits. */
function stack(view, width, height) {
  const element = make("div", { className: "stack" }, picture(view));
  const factor = Math.min(width / view.width, height / view.height);
  element.style.width = `${Math.max(1, Math.round(view.width * factor))}px`;
  element.style.height = `${Math.max(1, Math.round(view.height * factor))}px`;
  if (view.areas) element.append(make("img", { className: "areas", src: view.areas, alt: "" }));
  if (view.shapes.length) element.append(shapes(view, 1 / factor));
  return element;
}

const picture = (view) => make("img", { className: "photo", src: view.picture, alt: shown(view.short), draggable: false });

function compared(views, width, height) {
  const element = stack(views[0], width, height);
  const after = picture(views[1]);
  after.classList.add("after");
  element.append(after, make("div", { className: "split" }));
  split(element, 50);
  return element;
}

/** Shows the first `percent` of the width before, the rest after. */
function split(element, percent) {
  element.querySelector(".after").style.clipPath = `inset(0 0 0 ${percent}%)`;
  element.querySelector(".split").style.left = `${percent}%`;
}

function shapes(view, pixel) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "shapes");
  drawing.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  const add = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    drawing.append(element);
  };
  for (const { box: [x, y, width, height], points, colour } of view.shapes) {
    add("rect", { x, y, width, height, class: "under" });
    add("rect", { x, y, width, height, stroke: colour });
    for (const [cx, cy] of points) add("circle", { cx, cy, r: 2.5 * pixel, fill: colour, stroke: "#000", "stroke-width": pixel / 2 });
  }
  return drawing;
}
