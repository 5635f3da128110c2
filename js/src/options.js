/** The options of a page, checked: a wrong one must not show weeks later, in an outage. */

const MAX_MS = 2 ** 31 - 1; // browsers take what is longer for nothing

/** @typedef {[isRight: (value: any) => boolean, what: string]} Kind */

/** @param {string} type @param {any} value */
const is = (type, value) => typeof value === type;

/** @type {Kind} */ const TEXT = [(value) => is("string", value), "a string"];
/** @type {Kind} */ const FUNCTION = [(value) => is("function", value), "a function"];
/** @type {Kind} */ const COUNT = [(value) => is("number", value) && value >= 0, "a number"];
/** @type {Kind} */ const MS = [
  (value) => is("number", value) && value > 0 && value <= MAX_MS,
  `a positive number of milliseconds, such as 10000, and at most ${MAX_MS}`,
];
/** @type {Kind} */ const SIGNAL = [(value) => is("function", value?.addEventListener), "an AbortSignal"];

/** @param {any} value */
const isText = (value) => is("string", value) || (Array.isArray(value) && value.every((each) => is("string", each)));

/** @type {Record<string, Kind>} */
const VIEW_OPTIONS = {
  viewId: TEXT,
  storage: [(value) => ["sessionStorage", "localStorage", "none"].includes(value), '"sessionStorage", "localStorage" or "none"'],
  owner: TEXT,
  maxKept: COUNT,
  maxKeptChars: COUNT,
  timeoutMs: MS,
  heartbeatMs: MS,
  reconnectAfterMs: FUNCTION,
  rejoinAfterMs: FUNCTION,
  protocols: [(value) => is("function", value) || isText(value), "a string, an array of strings, or a function that returns or promises one"],
  logger: [(value) => is("function", value) || (is("object", value) && value !== null), "a function, or an object such as console"],
};

/** @type {Record<string, Kind>} */
const PUSH_OPTIONS = { signal: SIGNAL, timeoutMs: MS };

/** Return how many letters two names begin with in common. @param {string} one @param {string} other */
function likeness(one, other) {
  return [...one, ""].findIndex((letter, place) => letter.toLowerCase() !== other[place]?.toLowerCase());
}

/** Return the options that the page has given: undefined is none. Throw a TypeError for one that means nothing.
 * @template {object} T @param {string} where @param {T} options @param {Record<string, Kind>} kinds @returns {T} */
function check(where, options, kinds) {
  if (options === null || !is("object", options)) throw new TypeError(`${where}: the options must be an object`);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) {
      const [nearest] = Object.keys(kinds).sort((a, b) => likeness(name, b) - likeness(name, a));
      throw new TypeError(`${where}: there is no option ${name}. Did you mean ${nearest}?`);
    }
    const shown = is("string", value) || is("number", value) ? value : value === null ? "null" : typeof value;
    if (!kind[0](value)) throw new TypeError(`${where}: ${name} must be ${kind[1]}, not ${shown}. Leave it out for the default.`);
  }
  return /** @type {T} */ (Object.fromEntries(given));
}

/** Check the options of a view or a socket. @template {object} T @param {string} where @param {T} options */
export function checkOptions(where, options) {
  return check(where, options, VIEW_OPTIONS);
}

/** Check the options of a push. @template {object} T @param {T} options */
export function checkPushOptions(options) {
  return check("push", options, PUSH_OPTIONS);
}
