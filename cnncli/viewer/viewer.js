// Controls and keys.
const FIELDS = "input[type=search], select, textarea, input[type=range]";

function setCurrent(position) {
  drawn.get(current)?.querySelector(".tile").setAttribute("tabindex", "-1");
  current = position;
  drawn.get(current)?.querySelector(".tile").setAttribute("tabindex", "0");
}

/** Brings a tile into sight and gives it the focus. */
function moveTo(position) {
  if (!visible.length) return;
  setCurrent(Math.max(0, Math.min(visible.length - 1, position)));
  const top = Math.floor(current / columns) * rowHeight;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + rowHeight + edge > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + rowHeight + edge - grid.clientHeight;
  draw();
  setCurrent(current);
  drawn.get(current)?.querySelector(".tile").focus({ preventScroll: true });
}

function setDrawn(name, on) {
  state[name] = on;
  document.body.classList.toggle(`no-${name}`, !on);
  byId(name).setAttribute("aria-pressed", on);
  toHash();
}

function setSize(size) {
  state.size = size;
  showSize();
  layout();
  moveTo(current);
  toHash();
}

function showSize() {
  for (const button of document.querySelectorAll("[data-size]")) button.setAttribute("aria-pressed", button.dataset.size === state.size);
}

function clear() {
  byId("search").value = byId("find-label").value = "";
  change({ q: "", labels: [], tasks: [], outcome: "all", least: null, most: null });
}

function steps() {
  const page = Math.max(1, Math.floor(grid.clientHeight / rowHeight)) * columns;
  return {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
    PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
  };
}

function openFilters(open) {
  document.body.classList.toggle("filtering", open);
  byId("open-filters").setAttribute("aria-expanded", open);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const typing = event.target.matches(FIELDS);
  if (event.key === "Escape" && event.target.matches("input[type=search]")) return void moveTo(current);
  if (event.key === "Escape" && document.body.classList.contains("filtering")) return void openFilters(false);
  if (typing) return;
  const letters = {
    "/": () => !opened && (byId("search").focus(), byId("search").select()),
    "?": () => byId("keys").showModal(),
    b: () => setDrawn("boxes", !state.boxes),
    m: () => setDrawn("masks", !state.masks),
    f: () => !opened && change({ outcome: state.outcome === "failed" ? "all" : "failed" }),
  };
  if (event.key in letters) letters[event.key]();
  else if (opened) return void turnPage(event);
  else if (event.key in steps() && !event.target.closest("#filters")) moveTo(onTile() ? current + steps()[event.key] : current);
  else return;
  event.preventDefault();
}

const onTile = () => document.activeElement?.classList.contains("tile");

function turnPage(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || !visible[opened.position + step]) return;
  open(opened.position + step);
  event.preventDefault();
}

function showControls() {
  byId("search").value = state.q;
  byId("sort").value = state.sort;
  showSize();
  for (const name of ["boxes", "masks"]) setDrawn(name, state[name]);
}

function listen() {
  let waiting = false;
  grid.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }, { passive: true });
  new ResizeObserver(() => { if (grid.clientWidth) layout(); }).observe(grid);
  new ResizeObserver(showPictures).observe(byId("pictures"));
  byId("search").oninput = (event) => change({ q: event.target.value });
  byId("sort").onchange = (event) => change({ sort: event.target.value });
  byId("find-label").oninput = refresh;
  byId("least").oninput = (event) => limit("least", event.target, Math.min);
  byId("most").oninput = (event) => limit("most", event.target, Math.max);
  for (const name of ["boxes", "masks"]) byId(name).onclick = () => setDrawn(name, !state[name]);
  for (const button of document.querySelectorAll("[data-size]")) button.onclick = () => setSize(button.dataset.size);
  byId("clear").onclick = byId("clear-here").onclick = clear;
  byId("help").onclick = () => byId("keys").showModal();
  byId("open-filters").onclick = () => openFilters(!document.body.classList.contains("filtering"));
  byId("close").onclick = close;
  byId("previous").onclick = () => open(opened.position - 1);
  byId("next").onclick = () => open(opened.position + 1);
  byId("slider").oninput = (event) => split(byId("pictures").firstChild, event.target.value);
  large.addEventListener("cancel", (event) => (event.preventDefault(), close()));
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => {
    if (location.hash === written) return;
    Object.assign(state, START, fromHash());
    showControls();
    refresh();
  });
}

/** One end of the range, which never passes the other; an end at its stop is no limit. */
function limit(end, slider, nearer) {
  const other = Number(byId(end === "least" ? "most" : "least").value);
  const value = nearer(Number(slider.value), other);
  const stop = Number(end === "least" ? slider.min : slider.max);
  change({ [end]: Math.abs(value - stop) < Number(slider.step) / 2 ? null : value });
}

const asked = new URLSearchParams(location.hash.slice(1)).get("open");
showControls();
listen();
refresh();
if (asked !== null) {
  const position = visible.findIndex((entry) => String(entry.place) === asked);
  if (position >= 0) open(position);
}
