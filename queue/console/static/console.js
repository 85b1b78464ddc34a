// Keys, live changes and small comforts. Every page works without this script.
"use strict";

document.documentElement.classList.add("js");
const body = document.body;
const live = document.getElementById("live");
const typing = (el) => el.closest("input, textarea, select, [contenteditable]");

// Live: a page says which change it shows; the server counts what came after.
// Nothing moves by itself: a bar offers to show it.
function listen() {
  if (!body.dataset.tick || !live || !window.EventSource) return;
  const only = body.querySelector("[data-live-case]")?.dataset.liveCase || "";
  let source = null;
  const start = () => {
    if (source) return;
    source = new EventSource("/live?since=" + body.dataset.tick + (only ? "&case=" + encodeURIComponent(only) : ""));
    source.addEventListener("changes", (e) => tell(Number(e.data), only));
    source.addEventListener("error", () => { if (source && source.readyState === EventSource.CLOSED) stop(); });
  };
  const stop = () => { if (source) source.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  window.addEventListener("pagehide", stop);
  if (!document.hidden) start();
}

function tell(n, only) {
  const text = only ? live.dataset.case : n === 1 ? live.dataset.single : live.dataset.many.replace("{n}", n);
  const words = document.createElement("span");
  words.textContent = text;
  const link = document.createElement("a");
  link.href = location.pathname + location.search.replace(/([?&])done=[^&]*&?/, "$1").replace(/[?&]$/, "");
  link.textContent = live.dataset.show;
  live.replaceChildren(words, link);
}

// Keys: off inside fields and where the user switched them off.
function rows() { return [...document.querySelectorAll("a.cover")]; }

function move(step) {
  const list = rows();
  if (!list.length) return false;
  const at = list.indexOf(document.activeElement);
  list[Math.max(0, Math.min(list.length - 1, at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step))].focus();
  return true;
}

function press(key) {
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!target) return false;
  if (target.matches("input, textarea, select")) target.focus();
  else if (target.matches("details")) { target.open = true; target.querySelector("input, select, textarea, button")?.focus(); }
  else target.click();
  return true;
}

function mark() {
  const box = document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]");
  if (!box) return false;
  box.click();
  return true;
}

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
  if (e.key === "Escape" && typing(e.target)) { e.target.blur(); return; }
  if (body.dataset.keys === "off" || typing(e.target) && e.target.type !== "checkbox") return;
  const keys = document.getElementById("keys");
  const done = {
    j: () => move(1), k: () => move(-1), x: mark,
    "?": () => { keys?.showModal(); return Boolean(keys); },
  }[e.key]?.() || (e.key.length === 1 && press(e.key));
  if (done) e.preventDefault();
});

// Choosing in a select that is marked so sends its form.
document.addEventListener("change", (e) => {
  if (e.target.matches("[data-submit]")) e.target.form.requestSubmit();
  const row = e.target.closest("tr.row");
  if (row && e.target.type === "checkbox") row.classList.toggle("marked", e.target.checked);
});

// A link to a folded form opens it.
function unfold(id) {
  const target = id ? document.getElementById(id) : null;
  const form = target?.matches("details") ? target : target?.querySelector(":scope > details");
  if (form) { form.open = true; form.querySelector("input:not([type=hidden]), select, textarea")?.focus(); }
  return Boolean(form);
}
window.addEventListener("hashchange", () => unfold(location.hash.slice(1)));
document.addEventListener("click", (e) => {
  const link = e.target.closest("a[href^='#']");
  if (link) { link.closest("details.menu")?.removeAttribute("open"); setTimeout(() => unfold(link.hash.slice(1))); }
});
unfold(location.hash.slice(1));

// Whoever begins to write is seen by others who open the case.
const editor = document.querySelector("form[data-editing]");
let told = 0;
editor?.addEventListener("input", () => {
  if (Date.now() - told < 60000) return;
  told = Date.now();
  fetch(editor.dataset.editing, { method: "POST", body: new URLSearchParams({ token: editor.elements.token.value }) }).catch(() => {});
});

// On the list of mails set aside a key acts on the row that has the focus.
document.addEventListener("keydown", (e) => {
  if (e.key !== "c" || e.ctrlKey || e.metaKey || e.altKey || body.dataset.keys === "off" || typing(e.target)) return;
  e.target.closest("li")?.querySelector("[data-row-key=c]")?.click();
});

listen();
