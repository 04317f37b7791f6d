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

const order = document.querySelector("[data-stream]");
if (order) follow(order);

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
