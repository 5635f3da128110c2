import { Timer } from "../timer.js";
/** @import { Reply, Transport } from "../types.js" */
/** @import { EventQueue } from "./event_queue.js" */
/** @import { QueuedEvent } from "./queued_event.js" */

/** How long a connection has to hold before an event is sent that is about to be given up. */
const SUSPECT_AFTER_MS = 1_000;

/** How many events may await a reply at the same time. The server keeps its replies to twice as many. */
const MAX_IN_FLIGHT = 32;

/**
 * The sender of a queue's events from one join until the next disconnect: in order, a limited number at a time, and
 * again if there is no reply.
 *
 * `isNumbered`: whether the server recognizes repeated events. Otherwise none is resent.
 * `hasLines`: whether the server knows whose numbers are whose.
 * @typedef {Transport & { seq: number, isNumbered: boolean, hasLines: boolean, timeoutMs: number }} SenderOptions
 */
export class Sender {
  #queue;
  #options;
  /** The highest number that was applied or sent. */ #lastSentSeq;
  #round = 0;
  /** The event before the last gap that was handled. @type {number | null} */ #lastGap = null;
  #isStopped = false;
  #timer = new Timer();
  #holdTimer = new Timer();

  /** @param {EventQueue} queue @param {SenderOptions} options */
  constructor(queue, options) {
    this.#queue = queue;
    this.#options = options;
    this.#lastSentSeq = options.seq;
    if (options.isNumbered && queue.suspects.hold()) {
      this.#holdTimer.set(SUSPECT_AFTER_MS, () => {
        this.#holdTimer.clear();
        this.flush();
      });
    }
  }

  /**
   * Send as many events as allowed. All queued events get their numbers, and are stored with them, before any is
   * sent: a tab that is duplicated now must not assign other numbers to events that the state already contains.
   */
  flush() {
    if (this.#isStopped) return this.#queue.saveSoon();
    this.#assignNumbers();
    const ready = this.#ready();
    for (const queued of ready) queued.stage = "sent";
    if (ready.some(({ isStored }) => !isStored)) this.#queue.save();
    else this.#queue.saveSoon();
    let isSent = true;
    for (const queued of ready) if (!(isSent &&= this.#send(queued))) queued.stage = "queued";
    this.#startTimer();
  }

  /** Give a number to the events that have none: the last ones. */
  #assignNumbers() {
    const { events, line } = this.#queue;
    let place = events.length;
    while (events[place - 1]?.seq === null) place -= 1;
    let seq = this.#lastSeqBefore(place);
    for (const queued of events.slice(place)) Object.assign(queued, { seq: ++seq, line, isStored: false });
  }

  /** Return the events to send now, in order. */
  #ready() {
    const { events, nextPlace } = this.#queue;
    if (!this.#options.isNumbered) return events.slice(nextPlace);
    // a larger number could make the server drop its reply to the first event that awaits one
    const maxSeq = this.#acknowledgedSeq() + MAX_IN_FLIGHT;
    const next = events.slice(nextPlace, nextPlace + MAX_IN_FLIGHT);
    return next.filter(({ stage, seq }) => stage === "queued" && Number(seq) <= maxSeq).slice(0, this.#room());
  }

  /** Stop sending and ignore later replies. */
  stop() {
    this.#isStopped = true;
    this.#timer.clear();
    this.#holdTimer.clear();
    if (!this.#options.isNumbered) this.#queue.discard(this.#queue.underWay, "unconfirmed");
  }

  /** Return how many events may be sent now. A suspect is sent alone. */
  #room() {
    if (this.#holdTimer.isSet) return 0;
    return Math.max(0, (this.#queue.suspects.first ? 1 : MAX_IN_FLIGHT) - this.#queue.underWay.length);
  }

  /** Return whether an event is sent. @param {QueuedEvent} queued */
  #send(queued) {
    const round = this.#round;
    this.#lastSentSeq = Math.max(this.#lastSentSeq, queued.seq ?? 0);
    const numbers = this.#options.isNumbered ? { _seq: queued.seq, _ack: this.#acknowledgedSeq() } : {};
    if (this.#options.hasLines && queued.line !== null) Object.assign(numbers, { _line: queued.line });
    return this.#options.send(queued.event, { ...queued.payload, ...numbers }, (reply) => {
      if (!this.#isStopped) this.#handleReply(queued, reply, round);
    });
  }

  /** @param {QueuedEvent} queued @param {Reply} reply @param {number} round in which it was sent */
  #handleReply(queued, { status, response }, round) {
    const { _recovery, ...rest } = response ?? {};
    if (status === "timeout") return this.#handleTimeout(queued);
    const reason = status === "error" && rest.reason;
    if (_recovery && reason === "seq_gap") return this.#handleGap(rest.seq, round);
    if (_recovery && reason === "seq_taken") return this.#handleTaken(queued);
    if (this.#options.isNumbered && !_recovery && reason === "unmatched topic") return this.#options.rejoin();
    this.#lastGap = null;
    queued.handleReply({ status, response: rest });
    if (_recovery) this.#queue.releaseUpTo(_recovery.seq);
    else this.#queue.remove([queued]);
    this.#timer.clear();
    this.flush();
  }

  /** Discard an event after the transport's timeout, unless it can be resent. @param {QueuedEvent} queued */
  #handleTimeout(queued) {
    if (!this.#options.isNumbered && queued.stage === "sent") this.#queue.discard([queued], "unconfirmed");
  }

  /**
   * Resend all events after the last one that the server has applied. It reports the gap for each event behind it,
   * so only the first report in a round counts. If the same gap is reported again, the resend timer deals with it.
   * @param {number} applied @param {number} round
   */
  #handleGap(applied, round) {
    if (round !== this.#round || applied === this.#lastGap) return;
    this.#lastGap = applied;
    this.#round += 1;
    this.#lastSentSeq = applied;
    this.#queue.requeueAfter(applied);
    this.#timer.clear();
    this.flush();
  }

  /** Discard an event whose number is another page's. @param {QueuedEvent} queued */
  #handleTaken(queued) {
    this.#queue.discard([queued], "superseded");
    this.#timer.clear();
    this.flush();
  }

  /** Wait for any reply before resending on the same connection: a handler may just be slow. */
  #startTimer() {
    if (!this.#options.isNumbered || this.#queue.events.length === 0) return;
    if (!this.#timer.isSet) this.#timer.set(this.#options.timeoutMs, () => this.#resend());
  }

  #resend() {
    this.#timer.clear();
    // what was sent is still on its way: a second copy would only be slower
    if (this.#options.isBusy?.()) return this.#startTimer();
    this.#options.probe?.();
    this.#round += 1;
    const { events, underWay } = this.#queue;
    // only a reply tells what was stored since the last one, and a full queue would never send again without it
    const last = events.at(-1);
    if (last && events.every(({ stage }) => stage === "replied")) last.stage = "queued";
    for (const queued of underWay) queued.stage = "queued";
    this.flush();
  }

  /** Return the highest number up to which every event has its reply. */
  #acknowledgedSeq() {
    const { events } = this.#queue;
    const first = events.find(({ isAnswered }) => !isAnswered);
    return (first?.seq ?? this.#lastSeqBefore(events.length) + 1) - 1;
  }

  /** Return the last number in use. @param {number} place in the queue, of the first event without a number */
  #lastSeqBefore(place) {
    return Math.max(this.#lastSentSeq, this.#queue.events[place - 1]?.seq ?? 0);
  }
}
