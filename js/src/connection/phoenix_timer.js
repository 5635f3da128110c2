import { GOOD_AFTER_MS } from "../backoff.js";

/**
 * Have a timer of the npm client count its tries until what was tried has held for a while. The client itself begins
 * anew as soon as a connection is open or a channel has joined: with a server that closes it right after that, it would
 * try again and again without any backoff. Return a function to call whenever it seems to hold.
 * @param {{ timerCalc?: (tries: number) => number } | undefined} timer
 */
export function keepCounting(timer) {
  const { timerCalc } = timer ?? {};
  let tries = 0;
  let heldSince = Infinity;
  if (timer && typeof timerCalc === "function") {
    timer.timerCalc = () => {
      tries = performance.now() - heldSince >= GOOD_AFTER_MS ? 1 : tries + 1;
      heldSince = Infinity;
      return timerCalc.call(timer, tries);
    };
  }
  return () => void (heldSince = Math.min(heldSince, performance.now()));
}
