// Enhancements of the dashboard: keyboard shortcuts, a count of selected rows, and fields that save
// without loading the page.  Every form also works without scripts.

const status = document.querySelector("[data-status]");
const bar = document.querySelector("[data-keys]");
const sheet = document.querySelector("#all-keys");
const rows = () => [...document.querySelectorAll("table[data-rows] tbody tr")];

const PATHS = {
  h: "", o: "/orders", b: "/books", s: "/books?view=low", c: "/categories", i: "/imports",
  l: "/notifications", q: "/queues", u: "/users", a: "/audit",
};

// Keyboard shortcuts, which can be switched off (WCAG 2.1.4).

const OFF = "keys-off";
const box = document.querySelector("[data-keys-on]");
let off = stored() === "yes";
let going = false;
show();
box?.addEventListener("change", () => {
  off = !box.checked;
  try {
    localStorage.setItem(OFF, off ? "yes" : "no");
  } catch {
    // Without storage the setting lasts until the page is left.
  }
  show();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (off || field || event.target.closest("iframe")) return;
  const act = going ? () => go(event.key) : KEYS[event.key];
  const went = going;
  going = false;
  if (act && (act(event) !== false || went)) event.preventDefault();
});

const KEYS = {
  "/": () => document.querySelector(".fascia [type=search]").focus(),
  "?": () => sheet.togglePopover?.(),
  g: () => { going = true; },
  j: () => step(1),
  k: () => step(-1),
  x: () => tick(current()),
  e: () => edit(current()),
  Enter: (event) => (event.target === document.body || event.target.matches("tr") ? open(current()) : false),
};

function go(key) {
  const target = PATHS[key];
  const link = target !== undefined && `/admin${target}`;
  // Only pages that this member of staff may open are in the navigation.
  const path = link && link.split("?")[0];
  if (link && document.querySelector(`.navigation a[href="${path}"]`)) location.assign(link);
  return true;
}

function current() {
  return document.querySelector("tr[data-here]");
}

function step(by) {
  const all = rows();
  if (!all.length) return;
  const from = all.indexOf(current());
  const to = Math.max(0, Math.min(all.length - 1, from < 0 ? (by > 0 ? 0 : all.length - 1) : from + by));
  current()?.removeAttribute("data-here");
  all[to].setAttribute("data-here", "");
  const link = all[to].querySelector("th a") ?? all[to].querySelector("a, button, input");
  link?.focus();
  all[to].scrollIntoView({ block: "nearest" });
}

function tick(row) {
  row?.querySelector(".tick input")?.click();
}

function edit(row) {
  const field = row?.querySelector("[name=stock]") ?? row?.querySelector("[name=price]");
  field?.focus();
  field?.select();
}

function open(row) {
  const link = row?.querySelector("th a");
  if (!link) return false;
  link.click();
}

function stored() {
  try {
    return localStorage.getItem(OFF);
  } catch {
    return null;
  }
}

function show() {
  if (bar) bar.hidden = off;
  if (box) box.checked = !off;
}

// Row selection: a count, and a checkbox in the table head for all rows of the page.

const bulk = document.querySelector("#bulk");
if (bulk) {
  const counter = bulk.querySelector("[data-selection]");
  const before = counter.textContent;
  const boxes = () => [...document.querySelectorAll(".tick input[form=bulk]")];
  const head = document.querySelector("thead .tick");
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all rows of this page");
  head?.append(all);
  const count = () => {
    const number = boxes().filter((each) => each.checked).length;
    counter.textContent = number ? `${number} selected:` : before;
    all.checked = number > 0 && number === boxes().length;
    all.indeterminate = number > 0 && !all.checked;
  };
  all.addEventListener("change", () => {
    for (const each of boxes()) each.checked = all.checked;
    count();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches(".tick input[form=bulk]")) count();
  });
  bulk.addEventListener("reset", () => setTimeout(count));
  count();
}

// Fields in rows: Enter saves and moves to the next field, Esc restores the old value.

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("[data-cell] .input");
  if (field && event.key === "Escape") {
    field.value = field.defaultValue;
    field.select();
  }
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-cell]");
  if (!form || form.closest("tr").matches(".conflict")) return;
  event.preventDefault();
  const row = form.closest("tr");
  const name = form.querySelector(".input").name;
  const all = [...document.querySelectorAll(`[data-cell] .input[name=${name}]`)];
  const next = all[all.indexOf(form.querySelector(".input")) + 1];
  let fresh;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "text/html" },
    });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    fresh = { page, row: page.getElementById(row.id), notices: page.querySelectorAll("main > .note") };
    if (!answer.ok || !answer.redirected || answer.url.includes("/sign-in")) throw new Error("not saved");
  } catch {
    // Send the form as without scripts; the next page shows what went wrong.
    form.submit();
    return;
  }
  // After the change the row may no longer belong to this view.  Then it stays, with the new value.
  if (fresh.row) row.replaceWith(document.adoptNode(fresh.row));
  announce([...fresh.notices].map((notice) => notice.textContent.trim()).join(" "));
  const conflicting = document.querySelector(`#${row.id}.conflict .input.unsaved`);
  const target = conflicting ?? next;
  target?.focus();
  target?.select();
});

function announce(text) {
  status.textContent = "";
  setTimeout(() => { status.textContent = text; }, 50);
}

// Ask before a page with unsaved changes is left.

let unsaved = false;
for (const form of document.querySelectorAll("form[data-unsaved-warning]")) {
  form.addEventListener("input", () => { unsaved = true; });
  form.addEventListener("submit", () => { unsaved = false; });
}
addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Background jobs: their pages show the progress.

const job = document.querySelector("[data-follow]");
if (job) {
  const source = new EventSource(job.dataset.follow);
  source.addEventListener("progress", refresh);
  // The server closes the stream at the end of the job, which the browser reports as an error.
  source.addEventListener("error", refresh);

  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || source.readyState === EventSource.CLOSED) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page.querySelector("[data-follow]")) {
      const fresh = page.querySelector("[data-job]");
      document.querySelector("[data-job]").replaceChildren(...fresh.childNodes);
      return;
    }
    source.close();
    const main = page.querySelector("main");
    main.querySelector("[data-status]").replaceWith(status);
    document.querySelector("main").replaceWith(main);
    announce(main.querySelector("[data-outcome]")?.textContent.trim() ?? "");
  }
}
