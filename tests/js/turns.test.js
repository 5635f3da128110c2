/** Whose turn it is to send, of views that share a socket, and which event is to blame for a lost connection. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SharedSocket } from "../../js/src/connection/phoenix_socket.js";
import { Suspects } from "../../js/src/events/suspects.js";
import { Turns } from "../../js/src/connection/turns.js";

/** Return turns, and who has started. Each begins by its name. */
function sharing() {
  const started = [];
  const turns = new Turns();
  const names = Object.fromEntries([..."abcd"].map((name) => [name, { name }]));
  const take = (...all) => all.forEach((one) => turns.take(one, () => started.push(one.name)));
  return { turns, take, told: () => started.splice(0).join(""), ...names };
}

test("they start at once, also after one alone had events under way", () => {
  const { turns, take, told, a, b } = sharing();
  turns.suspect([a]);
  take(a, b);
  assert.equal(told(), "ab");
});

test("several who had events under way start one after the other, until each has had its turn", () => {
  const { turns, take, told, a, b, c, d } = sharing();
  turns.suspect([a, b]);
  take(c, a, b);
  assert.equal(told(), "c");
  turns.pass(c);
  assert.equal(told(), "a");
  turns.pass(a);
  assert.equal(told(), "b");
  take(c, d);
  assert.equal(told(), "");
  turns.pass(b);
  take(a, b);
  assert.equal(told(), "cdab");
});

test("whoever has events under way when one of them has its turn is among them", () => {
  const { turns, take, told, a, b, c } = sharing();
  turns.suspect([a, b]);
  turns.suspect([c]);
  for (const one of [a, b]) turns.pass(one);
  take(c, a);
  assert.equal(told(), "c");
});

test("one that goes away while it waits doesn't start, and one whose turn it is makes room for the next", () => {
  const { turns, take, told, a, b, c } = sharing();
  turns.suspect([a, b, c]);
  take(a, b, c);
  turns.leave(b);
  turns.leave(a);
  assert.equal(told(), "ac");
  take(a);
  assert.equal(told(), "");
  turns.pass(c);
  assert.equal(told(), "a");
});

test("with the connection, all that wait are forgotten, and whose turn it was", () => {
  const { turns, take, told, a, b, c } = sharing();
  turns.suspect([a, b, c]);
  take(a, b);
  turns.clear();
  take(c);
  turns.pass(c);
  assert.equal(told(), "ac");
});

/** Return what the views on an npm socket share, the views' queues with events under way, and who has started. */
function onOneSocket() {
  const started = [];
  const socket = { onClose: (callback) => (socket.close = callback) };
  const shared = SharedSocket.of(socket);
  const queue = (name) => ({ name, sentBytes: 1, suspects: { suspicion: 0 } });
  const queues = Object.fromEntries([..."abcd"].map((name) => [name, queue(name)]));
  const start = (...all) => all.forEach((one) => shared.start(one, () => started.push(one.name)));
  const settle = (one) => shared.settle(Object.assign(one, { sentBytes: 0 }));
  const cut = (...all) => {
    for (const one of all) shared.stop(one);
    socket.close({ code: 1006 });
    return socket.close;
  };
  return { shared, start, settle, cut, told: () => started.splice(0).join(""), ...queues };
}

test("a view on an npm socket that has had its turn isn't suspected again on the same connection", () => {
  const { start, settle, cut, told, a, b, c, d } = onOneSocket();
  cut(a, b);
  start(a, b);
  assert.equal(told(), "a");
  settle(a);
  settle(b);
  start(c, d);
  assert.equal(told(), "bcd");
});

test("a view on an npm socket that is closed during the outage keeps no other waiting", () => {
  const { shared, start, settle, cut, told, a, b, c, d } = onOneSocket();
  cut(a, b);
  shared.remove(b);
  start(a);
  settle(a);
  start(c, d);
  assert.equal(told(), "acd");
});

test("over a message's size, only a view that was sending on that connection can be to blame", () => {
  const { shared, start, cut, a, b } = onOneSocket();
  const blamed = [];
  for (const [one, largestBytes] of [[a, 9], [b, 5]]) Object.assign(one.suspects, { largestBytes, blameLargest: () => blamed.push(one.name) });
  const close = cut(a);
  start(b);
  shared.stop(b);
  close({ code: 1009 });
  assert.deepEqual(blamed, ["b"]);
});

for (const [what, end] of [["whose channel crashes", "stop"], ["that is closed", "remove"]]) {
  test(`a view on an npm socket ${what} makes room for the next`, () => {
    const { shared, start, cut, told, a, b } = onOneSocket();
    cut(a, b);
    start(a, b);
    shared[end](a);
    assert.equal(told(), "ab");
  });
}

test("a suspect waits for a connection that holds only every other time, so that a line that never does can't block it", () => {
  const suspects = new Suspects({ events: [{ isAnswered: false, cuts: 2 }], underWay: [] });
  assert.deepEqual([suspects.hold(), suspects.hold(), suspects.hold()], [true, false, true]);
});

test("an event that seemed too large is asked for once", () => {
  const event = { stage: "sent", sizeBytes: 9, isUpTo: (seq) => seq >= 1 };
  const suspects = new Suspects({ events: [event], underWay: [event] });
  suspects.noteUnanswered(true, 0);
  suspects.blameLargest();
  assert.deepEqual([suspects.takeTooLarge(1), suspects.takeTooLarge(0)], [undefined, undefined]);
  suspects.blameLargest();
  assert.deepEqual([suspects.takeTooLarge(0), suspects.takeTooLarge(0)], [event, undefined]);
});
