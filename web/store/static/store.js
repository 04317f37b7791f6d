// Progressive enhancement: quantities without a reload, live order pages, search suggestions.

document.addEventListener("click", (event) => {
  const button = event.target.closest(".quantity button");
  if (!button) return;
  event.preventDefault();
  const field = button.parentElement.querySelector("input");
  const quantity = Number(field.value) + Number(button.value);
  field.value = Math.min(Number(field.max), Math.max(Number(field.min), quantity));
  field.dispatchEvent(new Event("change", { bubbles: true }));
});

const cart = document.querySelector("[data-cart]");
if (cart) updateCart(cart.closest("main"));

// The cart page sends each changed quantity and shows the new sums. Without an answer the form is
// submitted, so that the customer sees the browser's own error.
function updateCart(main) {
  const status = document.body.appendChild(document.createElement("p"));
  status.className = "hide-words";
  status.role = "status";
  let timer = 0;
  let changes = 0;

  main.addEventListener("change", (event) => {
    const form = event.target.closest("form:has(.quantity)");
    if (!form) return;
    changes += 1;
    clearTimeout(timer);
    timer = setTimeout(send, 150, form, changes);
  });

  async function send(form, change) {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body }).catch(() => null);
    if (change !== changes) return;
    if (!answer?.ok) return form.submit();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (change !== changes) return;
    const focused = nameOf(document.activeElement);
    main.replaceChildren(...page.querySelector("main").childNodes);
    document.querySelector(".tools").replaceWith(page.querySelector(".tools"));
    const controls = [...main.querySelectorAll("button, input")];
    if (focused) (controls.find((it) => nameOf(it) === focused) ?? main).focus();
    status.textContent = main.querySelector(".leaders .total")?.textContent ?? "";
  }

  function nameOf(element) {
    const label = element?.getAttribute?.("aria-label");
    return label && element.form ? `${element.form.getAttribute("action")} ${label}` : null;
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
