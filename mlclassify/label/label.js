// The page holds a copy of the server's state; each change is sent, one after the other, and a
// change that is refused is taken back. Names come from files and are only ever set as text.
"use strict";

const at = (id) => document.getElementById(id);
let photos = [], labels = [], i = 0, sending = Promise.resolve();

async function ask(part, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" },
                            body: JSON.stringify(body) };
  const response = await fetch(part, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function show() {
  const photo = photos[i];
  const count = (decision) => photos.filter((p) => p.decision === decision).length;
  at("name").textContent = photo.name;
  at("decision").textContent = photo.decision || "";
  at("decision").className = photo.decision || "";
  at("count").textContent =
    `${i + 1} of ${photos.length}: ${count("keep")} kept, ${count("drop")} dropped`;
  if (at("photo").dataset.i !== String(i)) {
    at("photo").dataset.i = i;
    at("photo").src = `photo/${i}`;
    at("photo").alt = photo.name;
    if (i + 1 < photos.length) new Image().src = `photo/${i + 1}`;
  }
  at("labels").replaceChildren(...labels.map(box));
}

function box(label, key) {
  const line = document.createElement("label"), input = document.createElement("input");
  input.type = "checkbox";
  input.checked = photos[i].labels.includes(label);
  input.addEventListener("change", () => toggle(label));
  line.append(input, ` ${key < 9 ? `${key + 1} ` : ""}${label}`);
  return line;
}

function decide(decision, ticked = photos[i].labels) {
  const here = i, before = photos[here];
  photos[here] = { ...before, decision, labels: ticked };
  show();
  sending = sending
    .then(() => ask(`photo/${here}`, { decision, labels: ticked }))
    .then((answer) => { labels = answer.labels; at("error").textContent = ""; })
    .catch((error) => { photos[here] = before; at("error").textContent = error.message; })
    .then(show);
}

function toggle(label) {
  const ticked = photos[i].labels;
  decide("keep", ticked.includes(label) ? ticked.filter((l) => l !== label) : [...ticked, label]);
}

function go(step) {
  i = Math.min(Math.max(i + step, 0), photos.length - 1);
  show();
}

const keys = {
  Enter: () => { decide("keep"); go(1); },
  d: () => { decide("drop"); go(1); },
  Delete: () => { decide("drop"); go(1); },
  u: () => decide(null),
  ArrowLeft: () => go(-1),
  ArrowRight: () => go(1),
  n: () => at("new").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !photos.length) return;
  if (event.target === at("new")) {
    if (event.key === "Escape") at("new").blur();
    return;
  }
  const label = /^[1-9]$/.test(event.key) && labels[event.key - 1];
  if (!label && !keys[event.key]) return;
  event.preventDefault();
  if (label) toggle(label); else keys[event.key]();
});

at("more").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = at("new").value.trim();
  at("new").value = "";
  at("new").blur();
  if (label && !photos[i].labels.includes(label)) toggle(label);
});

at("done").addEventListener("click", async () => {
  await sending;
  await ask("done", {});
  document.body.textContent = "Done; this page can be closed.";
});

ask("state").then((state) => {
  ({ photos, labels } = state);
  const first = photos.findIndex((photo) => !photo.decision);
  i = Math.max(first, 0);
  show();
}).catch((error) => { at("error").textContent = error.message; });
