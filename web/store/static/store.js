// What pages gain where scripts run: quantities without a reload, orders that follow themselves.

for (const form of document.querySelectorAll("form:has(.quantity)")) {
  const field = form.querySelector(".quantity input");
  for (const button of form.querySelectorAll(".quantity button")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      const wanted = Number(field.value) + Number(button.value);
      field.value = Math.min(Number(field.max), Math.max(Number(field.min), wanted));
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
    document.querySelector("[data-said]").textContent = order.querySelector("h1").textContent;
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

// What a search may be about, as links below the field: Tab and the arrow keys reach them.
function suggest(form) {
  const field = form.elements.q;
  const said = form.appendChild(document.createElement("p"));
  said.className = "hide-words";
  said.role = "status";
  let list = null;
  let timer = 0;
  let asked = "";

  field.autocomplete = "off";
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 150);
  });
  form.addEventListener("keydown", (event) => {
    const links = list ? [...list.querySelectorAll("a")] : [];
    const place = links.indexOf(document.activeElement);
    if (event.key === "Escape" && list) {
      close();
      field.focus();
    } else if (event.key === "ArrowDown" && links.length) {
      links[Math.min(place + 1, links.length - 1)].focus();
    } else if (event.key === "ArrowUp" && place >= 0) {
      (links[place - 1] ?? field).focus();
    } else {
      return;
    }
    event.preventDefault();
  });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) close();
  });

  async function ask() {
    const typed = field.value.trim();
    asked = typed;
    if (typed.length < 2) return close();
    const answer = await fetch(`/suggestions?${new URLSearchParams({ q: typed })}`);
    if (!answer.ok || typed !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("[data-suggested]");
    close();
    if (!found || !form.contains(document.activeElement)) return;
    list = form.appendChild(document.importNode(found, true));
    said.textContent = list.dataset.suggested;
  }

  function close() {
    list?.remove();
    list = null;
    said.textContent = "";
  }
}
