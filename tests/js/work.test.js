/** How much work many events are: counted, as a time would tell more of the machine. */
import assert from "node:assert/strict";
import { Session } from "node:inspector/promises";
import { test } from "node:test";
import { FakeBrowser, FakeClock, FakeStorage, FILE } from "./support/browser.js";

/** A storage that counts what is written. */
class CountingStorage extends FakeStorage {
  chars = 0;

  setItem(key, value) {
    this.chars += value.length;
    super.setItem(key, value);
  }
}

/** Run an action. Return how often parts of recovery.js have run: functions, and blocks of them. */
async function countRuns(action) {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  try {
    await action();
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const functions = result.filter(({ url }) => url.endsWith(FILE)).flatMap(({ functions }) => functions);
    return functions.flatMap(({ ranges }) => ranges).reduce((sum, { count }) => sum + count, 0);
  } finally {
    session.disconnect();
  }
}

/** Push events offline, have each answered, and return what that was. */
async function work(count, options) {
  const sessionStorage = new CountingStorage();
  const { Recovery } = new FakeBrowser().open({ clock: new FakeClock(), sessionStorage }).app;
  const view = new Recovery("many", { maxKept: count, maxKeptChars: 1e9, owner: "ann", ...options });
  const sent = [];
  view.carry({ send: (_, { _seq }, onReply) => sent.push([_seq, onReply]) > 0, rejoin() {} });
  const runs = await countRuns(async () => {
    const replies = Array.from({ length: count }, (_, item) => view.push("add", { item }));
    view.joinPayload();
    view.joined({ _recovery: { token: "token", outcome: "new", seq: 0, owner: "ann", lines: [] } });
    while (sent.length > 0) {
      const [seq, onReply] = sent.shift();
      onReply({ status: "ok", response: { _recovery: { seq } } });
    }
    await Promise.all(replies);
  });
  assert.deepEqual(view.pending, []);
  return { runs, chars: sessionStorage.chars };
}

for (const storage of ["sessionStorage", "none"]) {
  test(`the work for one event doesn't grow with the queue: ${storage}`, async () => {
    const [few, many] = [await work(300, { storage }), await work(3_000, { storage })];
    assert.ok(few.runs > 300, "it is counted");
    assert.ok(many.runs < 12 * few.runs, `${few.runs} and ${many.runs} runs`);
    assert.ok(many.chars <= 12 * few.chars, `${few.chars} and ${many.chars} characters`);
  });
}
