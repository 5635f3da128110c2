/** The chat: each line of the room once and in order, and those of one's own that wait to be sent. */
import { CatchUp, openLine, timeOf } from "./line.js";
import { newId } from "./quote.js";
import { setText } from "./panel.js";

const NAME_KEY = "chat_author";
const WRITING_MS = 4_000;
const MAX_LINES = 500;
const room = document.querySelector("#talk").dataset.room;
const { socket, panel } = openLine("/ws/chat", `chat in ${room}`);
const catchUp = new CatchUp(panel, ["line", "lines"]);
const author = document.querySelector("#author");
const text = document.querySelector("#text");
const log = document.querySelector("#log");
/** What the page shows, by the ids that lines have from their pages. @type {Map<string, HTMLElement>} */
const lines = new Map();
/** Own lines that haven't come back from the room. @type {Map<string, string>} */
const waiting = new Map();
/** Who is writing, and until when that is shown. @type {Map<string, { author: string, until: number }>} */
const writers = new Map();
const ownId = newId();
let saidWriting = 0;

// From the server

socket.on("outcome", ({ outcome, response, isWaiting }) => {
  if (isWaiting) return;
  // A reload shows what the state has; a page that was cut has that already, by its pushes.
  const isBack = outcome === "recovered" && lines.size > 0;
  catchUp.begin(outcome === "recovered" ? response.now : null);
  if (isBack) response.lines.forEach((line) => add(line));
  else showAll(response.lines);
  for (const { event, payload } of socket.pending) if (event === "say") waiting.set(payload.uid, payload.text);
  document.querySelector("#talk").removeAttribute("data-loading");
  render();
});

socket.on("line", (line) => {
  writers.delete(line.author);
  add(line, { isLate: catchUp.note(line.at) });
  render();
});

// What the page's pushes would have told is gone, or what the room's messages would have.
socket.on("lines", (payload) => showAll(payload.lines));
socket.on("missed", () => socket.push("show", {}).then((response) => showAll(response.lines), () => {}));

socket.on("writing", ({ author: name, uid }) => {
  if (uid === ownId) return;
  writers.set(name, { author: name, until: Date.now() + WRITING_MS });
  setTimeout(render, WRITING_MS + 50);
  render();
});

socket.on("lost", ({ events }) => {
  for (const { payload } of events) waiting.delete(payload.uid);
  panel.note("bad", `${events.length} lost`);
  render();
});

// From the user

document.querySelector("#composer").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const said = text.value.trim();
  if (!said) return;
  const uid = newId();
  waiting.set(uid, said);
  text.value = "";
  saidWriting = 0;
  socket.push("say", { uid, author: author.value.trim(), text: said }).catch(() => waiting.delete(uid));
  render();
  log.scrollTop = log.scrollHeight;
});

text.addEventListener("input", () => {
  // It would be sent when the page is back, and be no longer true.
  const isLive = socket.status === "connected";
  if (!isLive || !text.value || Date.now() - saidWriting < WRITING_MS / 2) return;
  saidWriting = Date.now();
  socket.push("writing", { author: author.value.trim(), uid: ownId }).catch(() => {});
});

author.value = localStorage.getItem(NAME_KEY) ?? `Guest ${ownId.slice(0, 3)}`;
author.addEventListener("change", () => localStorage.setItem(NAME_KEY, author.value.trim()));

// Rendering

function showAll(all) {
  lines.clear();
  log.replaceChildren();
  all.forEach((line) => add(line));
  log.scrollTop = log.scrollHeight;
  render();
}

function add(line, { isLate = false } = {}) {
  waiting.delete(line.uid);
  if (lines.has(line.uid)) return;
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const element = lineElement(line.author, line.text, timeOf(line.at));
  element.querySelector(".late").hidden = !isLate;
  lines.set(line.uid, element);
  log.append(element);
  if (lines.size > MAX_LINES) forgetOldest();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function forgetOldest() {
  const [uid, element] = lines.entries().next().value;
  lines.delete(uid);
  element.remove();
}

function lineElement(name, said, time) {
  const element = document.querySelector("#line").content.firstElementChild.cloneNode(true);
  element.querySelector(".name").textContent = name;
  element.querySelector(".name").style.setProperty("--hue", String(hueOf(name)));
  element.querySelector(".text").textContent = said;
  element.querySelector("time").textContent = time;
  element.classList.toggle("own", name === author.value.trim());
  return element;
}

function hueOf(name) {
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

function render() {
  const own = [...waiting.values()].map((said) => lineElement(author.value.trim(), said, "waiting to be sent"));
  document.querySelector("#waiting").replaceChildren(...own);
  document.querySelector("#empty").hidden = lines.size + waiting.size > 0;
  const names = [...writers.values()].filter(({ until }) => until > Date.now()).map(({ author: name }) => name);
  setText("#writing", names.length ? `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} writing…` : "");
}

socket.join(`room:${room}`);
