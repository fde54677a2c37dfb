"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const inline = $("report-data");
const R = inline ? JSON.parse(inline.textContent) : window.REPORT || {pictures: [], base: null};

/* Text is only ever set as text: all names are somebody's. */
function make(tag, attributes = {}, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) one.setAttribute(name, value === true ? "" : value);
  one.append(...children.filter((child) => child !== null));
  return one;
}
const picture = (number) => (R.base === null ? "data:image/jpeg;base64," : encodeURIComponent(R.base) + "/") + R.pictures[number];
function save(name, text, type) {
  const link = make("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}
const comma = (value) => value.toLocaleString("en-US");

/* Colours */
const theme = $("theme"), themes = ["auto", "light", "dark"];
let chosen = "auto";
try { chosen = localStorage.getItem("patn-report-theme") || "auto"; } catch { /* a page from disk may have none */ }
function setTheme(name) {
  chosen = themes.includes(name) ? name : "auto";
  if (chosen === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = chosen;
  theme.textContent = chosen[0].toUpperCase() + chosen.slice(1);
  theme.setAttribute("aria-label", "Colours: " + (chosen === "auto" ? "as the system has it" : chosen));
  try { localStorage.setItem("patn-report-theme", chosen); } catch { /* likewise */ }
}
setTheme(chosen);
theme.addEventListener("click", () => setTheme(themes[(themes.indexOf(chosen) + 1) % themes.length]));

/* Pictures of the template, when they come near */
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    entry.target.src = picture(+entry.target.dataset.pic);
    near.unobserve(entry.target);
  }
}, {rootMargin: "600px"});
for (const image of document.querySelectorAll("img[data-pic]")) near.observe(image);

/* Copy, save */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("copy" in button.dataset) {
    const code = button.parentElement.querySelector("code"), label = button.textContent;
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = label; }, 1500);
  } else if (button.dataset.svg) saveSvg(button);
  else if (button.dataset.text) save(button.dataset.file, $(button.dataset.text).content.textContent, "text/plain");
});
function saveSvg(button) {
  const shown = button.closest("figure").querySelector("svg.chart"), copy = shown.cloneNode(true), root = document.documentElement;
  const before = root.dataset.theme;
  root.dataset.theme = "light"; /* on paper */
  const names = ["fill", "stroke", "stroke-width", "opacity", "font-size"];
  const from = shown.querySelectorAll("*"), to = copy.querySelectorAll("*");
  from.forEach((one, at) => {
    const style = getComputedStyle(one);
    to[at].setAttribute("style", names.map((name) => name + ":" + style.getPropertyValue(name)).join(";"));
  });
  if (before) root.dataset.theme = before; else root.removeAttribute("data-theme");
  copy.setAttribute("font-family", "sans-serif");
  const keys = [...button.closest("figure").querySelectorAll(".legend li")];
  if (keys.length) {
    const [, , width, height] = copy.getAttribute("viewBox").split(" ").map(Number);
    keys.forEach((key, at) => {
      const number = (key.querySelector(".mark").getAttribute("class").match(/s(\d)/) || [0, 0])[1];
      const line = document.createElementNS("http://www.w3.org/2000/svg", "text");
      line.setAttribute("x", 60); line.setAttribute("y", height + 16 + 15 * at);
      const colours = ["#3557c9", "#c96a12", "#17855a", "#b83280", "#7a46d6", "#0b7f98", "#c0312b", "#62656d"];
      line.setAttribute("style", "font-size:12px;fill:" + colours[number]);
      line.textContent = key.textContent;
      copy.append(line);
    });
    copy.setAttribute("viewBox", "0 0 " + width + " " + (height + 10 + 15 * keys.length + 8));
  }
  save(button.dataset.svg + ".svg", new XMLSerializer().serializeToString(copy), "image/svg+xml");
}

/* Table: one CMC chart at a time.  Training: one sheet at a time. */
if ($("f-cmc")) $("f-cmc").addEventListener("change", () => {
  for (const one of document.querySelectorAll("[data-cmc]")) one.hidden = one.dataset.cmc !== $("f-cmc").value;
});
if ($("sheet")) $("sheet").addEventListener("input", () => {
  const sheets = [...document.querySelectorAll(".sheet")];
  sheets.forEach((one, at) => { one.hidden = at !== +$("sheet").value; });
  $("sheet-step").textContent = sheets[+$("sheet").value].dataset.step;
});

if (R.kind !== "folder") return;

/* The gallery */
const PAGE = 48, items = R.items, rejected = new Set(), camera = $("f-cam");
const LIMBS = [[1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0], [0, 14], [14, 16], [0, 15], [15, 17]];
const hue = (joint) => "hsl(" + joint * 20 + " 90% 58%)";
let found = [], shown = 0;

function mix(text) { /* FNV-1a, then an avalanche: the order of a seed is the same everywhere */
  let hash = 2166136261 ^ R.seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  hash ^= hash >>> 16; hash = Math.imul(hash, 2246822507); hash ^= hash >>> 13; hash = Math.imul(hash, 3266489909);
  return (hash ^ hash >>> 16) >>> 0;
}
items.forEach((item, at) => { item.at = at; item.r = mix(item.o); });
const worst = (name) => (a, b) => (b[name] ?? -Infinity) - (a[name] ?? -Infinity) || a.at - b.at;
const SORTS = {
  pose: ["by pose error, worst first", worst("e")], colour: ["by colour drift, worst first", worst("k")],
  random: ["at random (seed " + R.seed + ")", (a, b) => a.r - b.r || a.at - b.at], plan: ["as in the plan", (a, b) => a.at - b.at],
};
const VERDICTS = {
  "": () => true, ok: (item) => item.v !== null && !item.v.length, bad: (item) => item.v !== null && item.v.length > 0,
  mine: (item) => rejected.has(item.o),
};
function verdict(item) {
  if (item.v === null) return ["off", "not judged"];
  return item.v.length ? ["bad", item.v.join(", ")] : ["good", "accepted"];
}
const signed = (value, digits) => value === null ? "–" : value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");

function skeleton(item, label) {
  const [height, width] = item.x, svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const thick = height / 52, place = (joint) => item.j[joint] && item.j[joint].map((value) => value / 10 + 0.5);
  LIMBS.forEach(([from, to], at) => {
    const a = place(from), b = place(to);
    if (!a || !b) return;
    const line = document.createElementNS(svg.namespaceURI, "line");
    for (const [name, value] of [["x1", a[0]], ["y1", a[1]], ["x2", b[0]], ["y2", b[1]], ["stroke", hue(at)], ["stroke-width", thick], ["stroke-linecap", "round"]]) line.setAttribute(name, value);
    svg.append(line);
  });
  item.j.forEach((_, joint) => {
    const at = place(joint);
    if (!at) return;
    const dot = document.createElementNS(svg.namespaceURI, "circle");
    for (const [name, value] of [["cx", at[0]], ["cy", at[1]], ["r", thick * 0.8], ["fill", hue(joint)]]) dot.setAttribute(name, value);
    svg.append(dot);
  });
  return svg;
}
function frame(number, alt, missing) {
  if (number === null) return make("div", {class: "none", role: "img", "aria-label": missing}, missing);
  return make("img", {src: picture(number), alt, loading: "lazy", decoding: "async", width: 64, height: 128});
}
function strip(item) {
  const who = "person " + item.p + (camera ? ", camera " + item.c : "");
  const library = item.d.startsWith("library:");
  const cells = [
    ["photo", frame(item.n[0], "Photo: " + who, "no picture")], ["pose", skeleton(item, "Pose asked for")],
    ["result", frame(item.n[1], "Generated: " + who, "no picture")],
    [library ? "library pose" : "pose donor", frame(item.n[2], "Photo that lent the pose", library ? "from the library" : "not here")],
  ];
  const row = make("div", {class: "strip"});
  row.style.setProperty("--ratio", item.x[1] + "/" + item.x[0]);
  for (const [name, cell] of cells) row.append(make("figure", {class: name === "result" ? "made" : null}, cell, make("figcaption", {}, name)));
  return row;
}
function tick(item) {
  const box = make("input", {type: "checkbox", "aria-label": "Reject " + item.o});
  box.checked = rejected.has(item.o);
  box.addEventListener("change", () => reject(item, box.checked));
  return make("label", {}, box, "reject");
}
function tile(item) {
  const [state, word] = verdict(item);
  const one = make("article", {class: "tile", role: "listitem", tabindex: "-1", "data-output": item.o},
    strip(item),
    make("div", {class: "meta"}, make("b", {}, "Person " + item.p), camera ? "camera " + item.c : null, tick(item),
      make("span", {class: "nums"}, make("span", {}, "pose " + signed(item.e, 2)), make("span", {}, "colour " + signed(item.k, 1)), make("span", {class: "chip " + state}, word))));
  one.classList.toggle("out", rejected.has(item.o));
  one.item = item;
  return one;
}
function filter() {
  const pid = $("f-pid").value.trim(), cam = camera ? camera.value : "", kind = $("f-verdict").value, [told, order] = SORTS[$("f-sort").value];
  const test = VERDICTS[kind] || ((item) => item.v !== null && item.v.includes(kind));
  found = items.filter((item) => (pid === "" || String(item.p) === pid || +pid === item.p) && (cam === "" || item.c === +cam) && test(item)).sort(order);
  shown = 0;
  $("tiles").replaceChildren();
  more(told);
}
function more(told) {
  const next = found.slice(shown, shown + PAGE);
  $("tiles").append(...next.map(tile));
  shown += next.length;
  if ($("tiles").firstChild) $("tiles").firstChild.tabIndex = 0;
  $("shown").textContent = (found.length ? comma(shown) + " of " + comma(found.length) + " shown" + (found.length < items.length ? " (" + comma(items.length) + " in all)" : "") : "No image is like that") + ", sorted " + (told || SORTS[$("f-sort").value][0]) + ".";
  $("more").hidden = shown >= found.length;
}
$("more").addEventListener("click", () => more());
new IntersectionObserver((entries) => { if (entries[0].isIntersecting && shown < found.length && shown >= PAGE) more(); }, {rootMargin: "500px"}).observe($("more"));
for (const id of ["f-pid", "f-cam", "f-verdict", "f-sort"]) if ($(id)) $(id).addEventListener("input", filter);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(filter));
$("pids").append(...[...new Set(items.map((item) => item.p))].sort((a, b) => typeof a === "number" ? a - b : String(a).localeCompare(b)).map((pid) => make("option", {value: pid})));
if (!items.some((item) => item.v !== null)) for (const value of ["ok", "bad", "pose", "identity", "statistics"]) $("f-verdict").querySelector("[value=" + value + "]").remove();

/* Rejecting: the row goes; where its identity has images that were left out, the first of them comes back, as the gate does */
function reject(item, yes) {
  if (yes) rejected.add(item.o); else rejected.delete(item.o);
  for (const one of $("tiles").children) if (one.item === item) {
    one.classList.toggle("out", yes);
    one.querySelector("input").checked = yes;
  }
  $("rejects").hidden = !rejected.size;
  const {back} = edited();
  $("reject-count").textContent = comma(rejected.size) + " rejected.";
  $("reject-what").textContent = back ? comma(back) + " real image" + (back > 1 ? "s" : "") + " of the same people stay" + (back > 1 ? "" : "s") + " instead." : "No real image takes their place.";
}
function edited() {
  const at = Object.fromEntries(R.plan.columns.map((name, place) => [name, place])), lost = {}, rows = [];
  for (const row of R.plan.rows) {
    if (row[at.action] === "generate" && rejected.has(row[at.output])) lost[row[at.pid]] = (lost[row[at.pid]] || 0) + 1;
    else rows.push(row);
  }
  const order = rows.filter((row) => row[at.action] === "drop" && lost[row[at.pid]]).sort((a, b) => a[at.image] < b[at.image] ? -1 : 1);
  const kept = new Map();
  for (const row of order) if (lost[row[at.pid]] > 0) {
    lost[row[at.pid]] -= 1;
    const copy = row.slice();
    copy[at.action] = "keep";
    copy[at.output] = R.plan.back[row[at.image]];
    kept.set(row, copy);
  }
  return {rows: rows.map((row) => kept.get(row) || row), back: kept.size};
}
const cell = (text) => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
$("reject-save").addEventListener("click", () => save("plan.csv", [R.plan.columns, ...edited().rows].map((row) => row.map(cell).join(",") + "\n").join(""), "text/csv"));
$("reject-clear").addEventListener("click", () => { for (const item of items) if (rejected.has(item.o)) reject(item, false); filter(); });

/* Larger */
const large = $("large");
let open = null;
function enlarge(item) {
  open = item;
  const [state, word] = verdict(item), lines = make("dl", {class: "about"});
  for (const [name, value] of [["Written as", item.o], ["Photo", item.f], ["Pose of", item.d], ["Pose error", signed(item.e, 3)], ["Colour drift", signed(item.k, 2) + " ΔE"]]) lines.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  $("large-title").textContent = "Person " + item.p + (camera ? ", camera " + item.c : "");
  $("large-body").replaceChildren(strip(item), make("p", {class: "meta"}, make("span", {class: "chip " + state}, word), tick(item)), lines);
  if (!large.open) large.showModal();
}
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
large.addEventListener("close", () => { const one = [...$("tiles").children].find((child) => child.item === open); if (one) one.focus(); });
large.addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key], at = found.indexOf(open);
  if (step && found[at + step]) { enlarge(found[at + step]); event.preventDefault(); }
  if (event.key.toLowerCase() === "x") { reject(open, !rejected.has(open.o)); enlarge(open); }
});
$("tiles").addEventListener("click", (event) => {
  const one = event.target.closest(".tile");
  if (one && !event.target.closest("label")) enlarge(one.item);
});
$("tiles").addEventListener("keydown", (event) => {
  const one = event.target.closest(".tile");
  if (!one || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...$("tiles").children], at = all.indexOf(one), columns = Math.max(1, all.filter((other) => other.offsetTop === all[0].offsetTop).length);
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
  if (step) {
    if (at + step >= all.length && shown < found.length) more();
    const next = $("tiles").children[at + step];
    if (next) { one.tabIndex = -1; next.tabIndex = 0; next.focus(); }
    event.preventDefault();
  } else if (event.key === "Enter" && event.target === one) { enlarge(one.item); event.preventDefault(); /* or it presses what the dialog focuses */ }
  else if (event.key.toLowerCase() === "x") reject(one.item, !rejected.has(one.item.o));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || large.open || /INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) return;
  $("f-pid").focus();
  event.preventDefault();
});
filter();

/* Identities */
const HEADS = ["Identity", "Real before", "Kept", "Generated", "After", "Poses shown, before → after"];
let column = 0, down = false, limit = 40;
function people() {
  const value = (row) => column === 5 ? row[6] - row[5] : row[column];
  const rows = R.people.slice().sort((a, b) => { const [x, y] = [value(a), value(b)]; return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); });
  const head = make("tr");
  HEADS.forEach((name, at) => {
    const button = make("button", {type: "button"}, name + (at === column ? (down ? " ↓" : " ↑") : ""));
    button.addEventListener("click", () => { down = at === column ? !down : at !== 0; column = at; people(); });
    head.append(make("th", {scope: "col", class: at ? "num" : null, "aria-sort": at === column ? (down ? "descending" : "ascending") : null}, button));
  });
  const table = $("people-table");
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...rows.slice(0, limit).map((row) => {
    const bar = make("i", {"aria-hidden": "true"});
    bar.style.setProperty("--before", 100 * row[5] / 108 + "%");
    bar.style.setProperty("--after", 100 * row[6] / 108 + "%");
    return make("tr", {}, make("th", {scope: "row"}, String(row[0])), ...row.slice(1, 5).map((number) => make("td", {class: "num"}, comma(number))),
      make("td", {class: "num"}, make("span", {class: "cover"}, bar, row[5] + " → " + row[6])));
  }));
  $("people-more").hidden = rows.length <= limit;
  $("people-more").textContent = "Show all " + comma(rows.length);
}
$("people-more").addEventListener("click", () => { limit = Infinity; people(); });
people();
})();
