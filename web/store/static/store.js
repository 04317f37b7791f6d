// Progressive enhancement: quantity buttons without a reload, live order pages, search suggestions.

for (const form of document.querySelectorAll("form:has(.quantity)")) {
  const field = form.querySelector(".quantity input");
  for (const button of form.querySelectorAll(".quantity button")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      const quantity = Number(field.value) + Number(button.value);
      field.value = Math.min(Number(field.max), Math.max(Number(field.min), quantity));
    });
  }
}

const search = document.querySelector(".search");
if (search) suggest(search);

const order = document.querySelector("[data-stream]");
if (order && !("over" in order.dataset)) follow(order);

function follow(order) {
  const source = new EventSource(order.dataset.stream);
  let seen = Number(order.dataset.seen);
  let live = false;

  source.addEventListener("open", () => mark(true));
  source.addEventListener("error", () => mark(false));
  source.addEventListener("status", async (event) => {
    const number = Number(event.lastEventId);
    if (number <= seen) return;
    seen = number;
    await refresh();
  });

  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return mark(false);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-stream]");
    if (!fresh || Number(fresh.dataset.seen) < Number(order.dataset.seen)) return;
    order.replaceChildren(...fresh.childNodes);
    Object.assign(order.dataset, fresh.dataset);
    document.title = page.title;
    document.querySelector("[data-announcement]").textContent = order.querySelector("h1").textContent;
    if ("over" in order.dataset) source.close();
    mark(live);
  }

  function mark(on) {
    live = on;
    const place = order.querySelector(".live");
    if (!place) return;
    place.classList.toggle("cut", !on);
    const words = place.querySelector("[data-on]");
    words.textContent = on ? words.dataset.on : words.dataset.off;
  }
}

// Search suggestions as links below the field. Tab and the arrow keys reach them.
function suggest(form) {
  const field = form.elements.q;
  const status = form.appendChild(document.createElement("p"));
  status.className = "hide-words";
  status.role = "status";
  let list = null;
  let timer = 0;
  let lastQuery = "";

  field.autocomplete = "off";
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(load, 150);
  });
  form.addEventListener("keydown", (event) => {
    const links = list ? [...list.querySelectorAll("a")] : [];
    const index = links.indexOf(document.activeElement);
    if (event.key === "Escape" && list) {
      close();
      field.focus();
    } else if (event.key === "ArrowDown" && links.length) {
      links[Math.min(index + 1, links.length - 1)].focus();
    } else if (event.key === "ArrowUp" && index >= 0) {
      (links[index - 1] ?? field).focus();
    } else {
      return;
    }
    event.preventDefault();
  });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) close();
  });

  async function load() {
    const typed = field.value.trim();
    lastQuery = typed;
    if (typed.length < 2) return close();
    const answer = await fetch(`/suggestions?${new URLSearchParams({ q: typed })}`);
    if (!answer.ok || typed !== lastQuery) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("[data-suggested]");
    close();
    if (!found || !form.contains(document.activeElement)) return;
    list = form.appendChild(document.importNode(found, true));
    status.textContent = list.dataset.suggested;
  }

  function close() {
    list?.remove();
    list = null;
    status.textContent = "";
  }
}
