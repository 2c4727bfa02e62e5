// Which entries pass, in what order, and the list of filters with their counts.
const LABELS_SHOWN = 200; // rows; further ones are found by name
const ORDER = new Intl.Collator(undefined, { numeric: true });
const best = (entry) => (entry.marks.length && entry.marks[0][1] !== null ? entry.marks[0][1] : null);

/** What the scores of the chosen tasks mean, and between what they lie; null where they mean different things. */
function scale() {
  const scored = entries.filter((entry) => best(entry) !== null && (!state.tasks.length || state.tasks.includes(entry.task)));
  const measures = new Set(scored.map((entry) => entry.measure));
  if (measures.size !== 1) return null;
  const [measure] = measures;
  let least = 0, most = measure === "score" || measure === "share" ? 1 : 0;
  for (const entry of scored) for (const [, score] of entry.marks) if (score > most) most = score;
  return { measure, least, most: most > 1 ? Math.ceil(most) : most || 1 };
}

function passes(entry, words, wanted, range) {
  const marked = (free) => entry.marks.some(([label, score]) =>
    (free || !wanted.size || wanted.has(label)) &&
    (!range || (score !== null && score >= range.least && score <= range.most)));
  return {
    text: words.every((word) => entry.text.includes(word)),
    task: !state.tasks.length || state.tasks.includes(entry.task),
    outcome: state.outcome === "all" || entry.ok === (state.outcome === "ok"),
    label: (!wanted.size && !range) || marked(false),
    range: !range || marked(true),
  };
}

function compare(one, other) {
  const last = (value, sign) => (value === null ? Infinity : sign * value);
  switch (state.sort) {
    case "name": return ORDER.compare(one.name, other.name);
    case "high": return last(best(one), -1) - last(best(other), -1) || 0;
    case "low": return last(best(one), 1) - last(best(other), 1) || 0;
    case "many": return other.objects - one.objects;
    case "few": return one.objects - other.objects;
    case "label": return ORDER.compare(one.marks[0]?.[0] ?? "\uffff", other.marks[0]?.[0] ?? "\uffff");
    default: return one.place - other.place;
  }
}

/** Applies the state: the visible entries, the grid from its top, the counts, and the address. */
function refresh() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(state.labels);
  const bounds = scale();
  const limited = bounds && (state.least !== null || state.most !== null);
  const range = limited ? { least: state.least ?? -Infinity, most: state.most ?? Infinity } : null;
  const counts = { labels: new Map(), tasks: new Map(), outcomes: { all: 0, ok: 0, failed: 0 } };
  visible = [];
  for (const entry of entries) {
    const { text, task, outcome, label, range: inRange } = passes(entry, words, wanted, range);
    if (text && task && outcome && label) visible.push(entry);
    if (text && outcome && label) counts.tasks.set(entry.task, (counts.tasks.get(entry.task) || 0) + 1);
    if (text && task && label) counts.outcomes.all++, counts.outcomes[entry.ok ? "ok" : "failed"]++;
    if (text && task && outcome && inRange) {
      for (const name of new Set(entry.marks.map((mark) => mark[0]))) counts.labels.set(name, (counts.labels.get(name) || 0) + 1);
    }
  }
  if (state.sort !== "input") visible.sort((one, other) => compare(one, other) || one.place - other.place);
  byId("count").textContent = `${visible.length.toLocaleString("en")} of ${entries.length.toLocaleString("en")}`;
  byId("nothing").hidden = visible.length > 0;
  showFilters(counts, bounds);
  restart();
  toHash();
}

function choice(type, group, text, checked, count, colour, onchange) {
  const input = make("input", { type, name: group, value: text, checked, onchange });
  const label = make("label", {}, input);
  if (colour) label.append(dot(colour));
  label.append(make("span", { className: "text", dir: "auto", title: shown(text) }, shown(text)));
  label.append(make("span", { className: "number" }, count.toLocaleString("en")));
  return make("li", { className: count || checked ? "" : "none" }, label);
}

function dot(colour) {
  const element = make("span", { className: "dot" });
  element.style.background = colour;
  return element;
}

function toggled(list, value) {
  return list.includes(value) ? list.filter((other) => other !== value) : [...list, value];
}

function change(values) {
  Object.assign(state, values);
  refresh();
}

function showFilters(counts, bounds) {
  const { name, value } = document.activeElement?.closest("#filters li input") ?? {};
  byId("task-part").hidden = tasks.length < 2;
  byId("tasks").replaceChildren(...tasks.map((task) =>
    choice("checkbox", "task", task, state.tasks.includes(task), counts.tasks.get(task) || 0, null,
      () => change({ tasks: toggled(state.tasks, task), least: null, most: null }))));
  const outcomes = [["all", "All"], ["ok", "Analysed"], ["failed", "Failed"]];
  byId("states").replaceChildren(...outcomes.map(([value, text]) =>
    choice("radio", "outcome", text, state.outcome === value, counts.outcomes[value], null, () => change({ outcome: value }))));
  showLabels(counts.labels);
  showRange(bounds);
  if (name) [...document.getElementsByName(name)].find((input) => input.value === value)?.focus();
}

function showLabels(counts) {
  const part = byId("find-label").value.trim().toLowerCase();
  const names = [...labelColours.keys()].filter((label) =>
    label.toLowerCase().includes(part) && (counts.has(label) || state.labels.includes(label)));
  const rank = (label) => (counts.get(label) || 0) + (state.labels.includes(label) ? 1e9 : 0);
  names.sort((one, other) => rank(other) - rank(one) || ORDER.compare(one, other));
  byId("label-part").hidden = labelColours.size === 0;
  byId("find-label").hidden = labelColours.size < 12;
  byId("labels").replaceChildren(...names.slice(0, LABELS_SHOWN).map((label) =>
    choice("checkbox", "label", label, state.labels.includes(label), counts.get(label) || 0, labelColours.get(label),
      () => change({ labels: toggled(state.labels, label) }))));
  byId("more-labels").textContent = names.length > LABELS_SHOWN ? `and ${names.length - LABELS_SHOWN} more` : "";
}

function showRange(bounds) {
  byId("range-part").hidden = !bounds;
  if (!bounds) return;
  byId("range-title").textContent = MEASURES[bounds.measure];
  for (const end of ["least", "most"]) {
    const value = state[end] ?? bounds[end];
    Object.assign(byId(end), { min: bounds.least, max: bounds.most, step: (bounds.most - bounds.least) / 200 });
    byId(end).value = value;
    byId(end + "-text").textContent = figure(value);
  }
}

const figure = (value) => String(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toFixed(2)));
