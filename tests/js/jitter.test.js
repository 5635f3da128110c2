/** How long and how often a page tries, and what a lost connection counts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOSE_DROPPED, suspicionOf } from "../../js/src/connection/close_codes.js";
import { Deadline } from "../../js/src/connection/deadline.js";
import { Refusals } from "../../js/src/connection/refusals.js";
import { fullJitter, reconnectAfterMs, rejoinAfterMs } from "../../recovery_app/static/recovery_app/recovery.js";

/** Return the minimum and maximum wait before a try: Math.random() is in [0, 1). */
function bounds(test, backoff, tries) {
  const random = test.mock.method(Math, "random", () => 0);
  const least = backoff(tries);
  random.mock.mockImplementation(() => 1);
  const greatest = backoff(tries);
  random.mock.restore();
  return [least, greatest];
}

test("a wait is between zero and a bound that doubles up to the cap", (t) => {
  const backoff = fullJitter(100, 1000);
  assert.deepEqual(bounds(t, backoff, 1), [0, 100]);
  assert.deepEqual(bounds(t, backoff, 2), [0, 200]);
  assert.deepEqual(bounds(t, backoff, 4), [0, 800]);
  assert.deepEqual(bounds(t, backoff, 5), [0, 1000]);
  assert.deepEqual(bounds(t, backoff, 5000), [0, 1000]);
});

test("the first reconnect comes within 100 ms, later ones at most 5 s apart; joins within 1 s and 10 s", (t) => {
  assert.deepEqual(bounds(t, reconnectAfterMs, 1), [0, 100]);
  assert.deepEqual(bounds(t, reconnectAfterMs, 99), [0, 5000]);
  assert.deepEqual(bounds(t, rejoinAfterMs, 1), [0, 1000]);
  assert.deepEqual(bounds(t, rejoinAfterMs, 99), [0, 10000]);
});

test("the waits of a thousand clients are spread over the whole range", () => {
  const waits = Array.from({ length: 1000 }, () => fullJitter(1000, 1000)(1));
  const tenths = new Set(waits.map((wait) => Math.floor(wait / 100)));
  assert.equal(tenths.size, 10);
});

test("what is slow gets up to eight times as long, until it has been fast", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const deadline = new Deadline(10_000);
  const allowed = [];
  for (let tries = 0; tries < 5; tries += 1) {
    allowed.push(deadline.begin());
    deadline.extend();
  }
  assert.deepEqual(allowed, [10_000, 20_000, 40_000, 80_000, 80_000]);
  now += 12_000;
  deadline.meet();
  assert.equal(deadline.begin(), 80_000, "it would fail with less");
  now += 1_000;
  deadline.meet();
  assert.equal(deadline.begin(), 10_000);
});

test("refusals are free five times; half of each later wait is random", (t) => {
  const refusals = new Refusals();
  const next = () => ((refusals.count += 1), bounds(t, () => refusals.retryAfterMs));
  for (let count = 1; count <= 5; count += 1) assert.deepEqual(next(), [0, 0]);
  assert.deepEqual(next(), [1_000, 2_000]);
  assert.deepEqual(next(), [2_000, 4_000]);
  for (let count = 0; count < 20; count += 1) next();
  assert.deepEqual(next(), [150_000, 300_000]);
  refusals.forgive();
  assert.deepEqual(next(), [0, 0]);
  refusals.count = 20;
  assert.deepEqual(next(), [15_000, 30_000], "its state waits");
  refusals.deny();
  assert.deepEqual(next(), [150_000, 300_000], "it isn't let in any more");
  refusals.forgive();
  refusals.deny();
  assert.deepEqual(next(), [1_000, 2_000], "a denial isn't free");
});

test("a cut counts as one, a server that stops and says so as half, and what isn't over an event as none", () => {
  for (const code of [1002, 1003, 1005, 1006, 1007, 1008, 1011, 4001, 4403, 4999]) assert.equal(suspicionOf(code), 1, String(code));
  for (const code of [1000, 1001, 1012, 1013]) assert.equal(suspicionOf(code), 0.5, String(code));
  for (const code of [1009, CLOSE_DROPPED]) assert.equal(suspicionOf(code), 0, String(code));
});
