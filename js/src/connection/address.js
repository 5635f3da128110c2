/** Where a WebSocket connects to. */

/** Return the address that a page means by a URL, or by a path on its host. Throw a TypeError if it is none.
 * @param {unknown} url @returns {URL} */
export function addressOf(url) {
  if (typeof url !== "string" && !(url instanceof URL)) {
    throw new TypeError("the URL of a RecoverySocket must be a string, a URL, or a function that returns or promises one");
  }
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}
