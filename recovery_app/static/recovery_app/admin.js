// Enhancements of the page "Snapshots" in Django's admin: countdowns, and a checkbox that selects all rows.

"use strict";

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Return seconds as 4:09 or 2:04:09, the format of the server. */
function formatCountdown(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / HOUR);
  const minutes = Math.floor((seconds % HOUR) / MINUTE);
  const rest = two(Math.floor(seconds % MINUTE));
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** Count down the remaining times by the clock: timers are throttled in background tabs. */
function countDown() {
  const { expired } = document.querySelector(".recovery").dataset;
  const start = performance.now();
  const countdowns = [...document.querySelectorAll("[data-recovery-seconds]")].map((element) => ({
    element,
    seconds: Number(element.dataset.recoverySeconds),
  }));
  if (!countdowns.length) return;
  setInterval(() => {
    const elapsed = (performance.now() - start) / 1000;
    for (const { element, seconds } of countdowns) {
      const left = seconds - elapsed;
      const text = left > 0 ? formatCountdown(left) : expired;
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
}

/** Make the checkbox in the table header select all rows. */
function selectAll() {
  const all = document.querySelector("[data-recovery-toggle]");
  if (!all) return;
  const boxes = [...document.querySelectorAll("input.action-select")];
  const update = () => {
    const count = boxes.filter((box) => box.checked).length;
    all.checked = count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
  });
  for (const box of boxes) box.addEventListener("change", update);
  update();
}

countDown();
selectAll();
