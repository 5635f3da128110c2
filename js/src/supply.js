/** Values that the page gives, or a function that returns or promises them. */

/** How long such a function may take. It may ask a server. */
export const SUPPLY_MS = 60_000;

/**
 * Call `then` with what `read` makes of a value, or of what a function returns or promises; at once, unless it is a
 * promise. Call `fail` with the error if there is none.
 * @template T @param {any} source @param {(value: any) => T} read @param {(value: T) => void} then
 * @param {(error: unknown) => void} fail
 */
export function supply(source, read, then, fail) {
  const deliver = (/** @type {any} */ value) => {
    /** @type {T} */ let given;
    try {
      given = read(value);
    } catch (error) {
      return fail(error);
    }
    then(given);
  };
  try {
    const value = typeof source === "function" ? source() : source;
    if (typeof value?.then === "function") Promise.resolve(value).then(deliver, fail);
    else deliver(value);
  } catch (error) {
    fail(error);
  }
}
