import assert from "node:assert/strict";
import { test } from "node:test";
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
