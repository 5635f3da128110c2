// The page "Snapshots" of Django's admin. Without it the times stand still, and all else works.

"use strict";

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Put seconds as the server does: 4:09 or 2:04:09. */
function words(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / HOUR);
  const minutes = Math.floor((seconds % HOUR) / MINUTE);
  const rest = two(Math.floor(seconds % MINUTE));
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** Count down each time that is left, by the clock and not by the ticks: tabs sleep. */
function countDown() {
  const { expired } = document.querySelector(".recovery").dataset;
  const start = performance.now();
  const places = [...document.querySelectorAll("[data-recovery-seconds]")].map((place) => ({
    place,
    seconds: Number(place.dataset.recoverySeconds),
  }));
  if (!places.length) return;
  setInterval(() => {
    const gone = (performance.now() - start) / 1000;
    for (const { place, seconds } of places) {
      const left = seconds - gone;
      const text = left > 0 ? words(left) : expired;
      if (place.textContent !== text) place.textContent = text;
    }
  }, 1000);
}

/** Let the box in the table's head select all others. */
function selectAll() {
  const all = document.querySelector("[data-recovery-toggle]");
  if (!all) return;
  const boxes = [...document.querySelectorAll("input.action-select")];
  const show = () => {
    const count = boxes.filter((box) => box.checked).length;
    all.checked = count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
  });
  for (const box of boxes) box.addEventListener("change", show);
  show();
}

countDown();
selectAll();
