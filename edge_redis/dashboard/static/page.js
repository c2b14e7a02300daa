// Keeps the page up to date: one stream, fragments replaced by id, while focus, selection and open details stay.
"use strict";

const body = document.body;
let source = null;
let skew = 0; // this clock minus the server's, in ms
const waiting = new Map(); // what changed inside a selection, until that is given up

function duration(seconds) {
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  for (const [size, unit, smaller, smallUnit] of units) {
    if (seconds >= size) {
      const rest = Math.floor((seconds % size) / smaller);
      return Math.floor(seconds / size) + " " + unit + (rest ? " " + rest + " " + smallUnit : "");
    }
  }
  return Math.floor(seconds) + " s";
}

function showAges() {
  const now = Date.now() - skew;
  for (const each of document.querySelectorAll("time[data-at]")) {
    const text = duration(Math.max(0, now - Number(each.dataset.at)) / 1000);
    if (each.textContent !== text) each.textContent = text;
  }
}

function controls(element) {
  return [...element.querySelectorAll("a[href], button, input, select, textarea, summary")];
}

function isSelected(element) {
  const selection = document.getSelection();
  return !selection.isCollapsed && selection.anchorNode !== null && element.contains(selection.anchorNode);
}

function swap(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  if (isSelected(old)) {
    waiting.set(id, html);
    return;
  }
  waiting.delete(id);
  if (id === "f-status") {
    old.innerHTML = html;
    old.classList.toggle("broken", old.textContent !== "live");
    return;
  }
  const template = document.createElement("template");
  template.innerHTML = html;
  const made = template.content.firstElementChild;
  const focused = old.contains(document.activeElement) ? controls(old).indexOf(document.activeElement) : -1;
  const open = [...old.querySelectorAll("details")].map((each) => each.open);
  const scrolled = [...old.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
  made.querySelectorAll("details").forEach((each, at) => { each.open = open[at] || false; });
  old.replaceWith(made);
  made.querySelectorAll(".scroll").forEach((each, at) => {
    if (scrolled[at]) [each.scrollLeft, each.scrollTop] = scrolled[at];
  });
  if (focused >= 0) controls(made)[focused]?.focus({ preventScroll: true });
}

function setStatus(text) {
  const status = document.getElementById("f-status");
  if (!status) return;
  status.textContent = text;
  status.classList.toggle("broken", text !== "live");
}

function listen() {
  if (source || document.hidden || !body.dataset.live) return;
  source = new EventSource(body.dataset.live);
  source.onopen = () => { if (document.getElementById("f-status")?.dataset.lost) setStatus("live"); };
  source.onmessage = (event) => {
    const { now, swaps } = JSON.parse(event.data);
    skew = Date.now() - now;
    for (const [id, html] of swaps) swap(id, html);
    showAges();
    // A stream that is opened again goes on from here.
    const url = new URL(body.dataset.live, location.href);
    url.searchParams.set("after", event.lastEventId);
    body.dataset.live = url.pathname + url.search;
  };
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    window.setTimeout(() => { if (!source || source.readyState !== EventSource.OPEN) lose(); }, 3000);
    if (closed) {
      stop();
      window.setTimeout(listen, 5000);
    }
  };
}

function lose() {
  const status = document.getElementById("f-status");
  if (!status || document.hidden) return;
  status.dataset.lost = "1";
  setStatus("connection lost, trying again");
}

function stop() {
  if (source) source.close();
  source = null;
}

// A filter changes the page in place, so that the field keeps its focus.
async function filter(form) {
  const url = new URL(form.action || location.href);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
  const response = await fetch(url, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const each of page.querySelectorAll("section[id]")) {
    document.getElementById(each.id)?.replaceWith(document.adoptNode(each));
  }
  history.replaceState(null, "", url);
  body.dataset.live = page.body.dataset.live;
  stop();
  listen();
}

let delay = 0;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form.filter");
  if (!form || event.target.name === "key") return;
  window.clearTimeout(delay);
  delay = window.setTimeout(() => filter(form), 250);
});

document.addEventListener("selectionchange", () => {
  for (const [id, html] of [...waiting]) swap(id, html);
});

document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
window.addEventListener("pagehide", stop);
window.addEventListener("pageshow", listen);

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const field = document.querySelector("form.filter input[type=search]");
  if (field) {
    event.preventDefault();
    field.focus();
    field.select();
  }
});

skew = Date.now() - Number(body.dataset.now);
window.setInterval(showAges, 1000);
listen();
