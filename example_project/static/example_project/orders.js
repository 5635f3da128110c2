/** The dashboard: a gauge, sums and a list, which each order changes once. */
import { CatchUp, openLine, timeOf } from "./line.js";
import { setText } from "./panel.js";

const SHOWN = 12;
const FULL = 80;
const LOOK_MS = 60_000;
const { socket, panel } = openLine("/ws/orders", "orders");
const catchUp = new CatchUp(panel, ["order", "orders"]);
const list = document.querySelector("#latest");
/** The newest order of each shop that is shown. @type {Map<string, number>} */
const newest = new Map();
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2 });

socket.on("outcome", ({ outcome, response, isWaiting }) => {
  if (isWaiting) return;
  catchUp.begin(outcome === "recovered" ? response.now : null);
  showAll(response);
  document.querySelector("#shop").removeAttribute("data-loading");
});

socket.on("order", ({ order, ...figures }) => {
  // A push that was on its way when the connection was lost comes again, and its order is in the recovered state.
  if (order.id <= (newest.get(order.shop) ?? 0)) return;
  newest.set(order.shop, order.id);
  list.prepend(orderElement(order, catchUp.note(order.at)));
  list.children[SHOWN]?.remove();
  showFigures(figures);
});

// What the page's pushes would have told is gone, or what the group's messages would have.
socket.on("figures", showAll);
socket.on("missed", () => socket.push("show", {}).then(showAll, () => {}));

function showAll({ orders, ...figures }) {
  newest.clear();
  for (const { shop, id } of orders) newest.set(shop, Math.max(id, newest.get(shop) ?? 0));
  list.replaceChildren(...orders.map((order) => orderElement(order, false)));
  showFigures(figures);
}

function showFigures({ numbers, count, cents, rate }) {
  setText("#count", String(count));
  setText("#revenue", money.format(cents / 100));
  setText("#rate", String(rate));
  document.querySelector("#level").style.strokeDashoffset = String(100 - Math.min(100, (100 * rate) / FULL));
  const total = numbers.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  // Each node of several has orders, and numbers, of its own.
  const which = numbers.length === 1 ? `Orders ${numbers[0].join(" to ")}: ` : "";
  if (count) setText("#complete", `${which}${count} of ${total} counted`);
}

function orderElement({ id, item, customer, cents, at }, isLate) {
  const element = document.querySelector("#order").content.firstElementChild.cloneNode(true);
  const texts = { number: `${id}`, goods: item, customer: `${customer} · ${timeOf(at)}`, price: `€ ${money.format(cents / 100)}` };
  for (const [name, text] of Object.entries(texts)) element.querySelector(`.${name}`).textContent = text;
  element.querySelector(".late").hidden = !isLate;
  return element;
}

// The shop closes some minutes after the last page that is looked at.
setInterval(() => {
  if (document.visibilityState === "visible" && socket.status === "connected") socket.push("look", {}).catch(() => {});
}, LOOK_MS);

socket.join("orders");
