/** Tokens: secrets, which are kept in the tab's storage and never put into a URL or a log line. */
import { acquirePageLock } from "./page_lock.js";
import { keyOf, moveToFrame, receivedKeyOf } from "./storage_keys.js";
import { StoredValue } from "./stored_value.js";
/** @import { StorageKind } from "../types.js" */

/** @type {Map<string, TokenStore>} */
const tokenStores = new Map();

/** The token of one view, in memory and, if there is one, in the browser's storage. */
export class TokenStore {
  /** @type {string | null} */ #token = null;
  #key;
  #stored;
  #storedReceived;
  #received = 0;
  #isPresented = false;
  /** Whether the storage has the token. */ isStored = true;
  /** What the storage had when this page last wrote or read it. @type {string | null} */ #known = null;

  /** Return the page's only store for a view. @param {string} viewId @param {StorageKind} storage */
  static forView(viewId, storage) {
    const name = `${storage} ${viewId}`;
    const store = tokenStores.get(name) ?? new TokenStore(viewId, storage);
    tokenStores.set(name, store);
    return store;
  }

  /** @param {string} viewId @param {StorageKind} storage */
  constructor(viewId, storage) {
    this.#key = keyOf(viewId);
    const kind = storage === "localStorage" ? "sessionStorage" : storage;
    this.#stored = new StoredValue(kind, this.#key);
    this.#storedReceived = new StoredValue(kind, receivedKeyOf(viewId));
    moveToFrame(viewId, kind);
    this.#load();
    /** Resolves when this tab's token is known, which takes time only with localStorage. */
    this.ready = storage === "localStorage" ? this.#acquireOwnership() : Promise.resolve();
  }

  get token() {
    return this.#token;
  }

  /** Return the token to send with a join. */
  present() {
    this.#isPresented = true;
    return this.#token;
  }

  /** @param {string | null} token null to remove it */
  save(token) {
    this.#token = token;
    this.isStored = this.#stored.write(token);
    this.#known = this.#stored.read();
  }

  /** Try again to store a token that the storage had no room for, unless another page has stored one since. */
  saveAgain() {
    if (!this.isStored && this.#stored.read() === this.#known) this.save(this.#token);
  }

  /** The number of the newest push that the page has, of the state that the token is for; 0 for none. */
  get received() {
    return this.#received;
  }

  /** @param {number} number of a push */
  saveReceived(number) {
    if (number === this.#received) return;
    this.#received = number;
    this.#storedReceived.write(String(number));
  }

  /** Take the token that another page of this tab has stored while this one slept. Return whether there is one, or
   * whether that page has removed it. What this page couldn't store, in a storage that is full, isn't another's. */
  readAgain() {
    if (this.#stored.read() === this.#known) return false;
    this.#load();
    return true;
  }

  remove() {
    this.save(null);
    this.saveReceived(0);
  }

  /**
   * Become the owner of the token in localStorage, if no other tab is. A tab that has a token in sessionStorage, or
   * that has joined already, keeps using sessionStorage: two tabs must never send the same token.
   */
  async #acquireOwnership() {
    if (this.#token !== null) return;
    const release = await acquirePageLock(this.#key).catch(() => null);
    if (this.#isPresented || this.#token !== null) return release?.();
    if (release === null) return;
    this.#use("localStorage");
    this.#load();
  }

  /**
   * Find out whether this tab still owns the token in localStorage: browsers release the locks of a page in the
   * back/forward cache, and another tab may have continued the state. Until then, and if one has, this page keeps what
   * it had to itself. Resolves with whether the token is another one now; null if there was nothing to own.
   * @returns {Promise<boolean> | null}
   */
  regain() {
    if (this.#stored.kind !== "localStorage") return null;
    const before = this.#known;
    this.#use("sessionStorage");
    this.#known = this.#stored.read();
    this.#isPresented = false;
    const regained = acquirePageLock(this.#key).catch(() => null).then((release) => this.#handleLock(release, before));
    this.ready = regained.then(() => {});
    return regained;
  }

  /** @param {(() => void) | null} release @param {string | null} before what was stored when this tab was the owner */
  #handleLock(release, before) {
    if (release) this.#use("localStorage");
    const isContinued = release !== null && this.#stored.read() !== before;
    if (isContinued && this.#isPresented) {
      this.#use("sessionStorage");
      release();
    } else if (isContinued) {
      this.#load();
      return true;
    }
    if (this.#token !== null) this.save(this.#token);
    return false;
  }

  /** @param {StorageKind} kind */
  #use(kind) {
    this.#stored.kind = this.#storedReceived.kind = kind;
  }

  /** Take what the storage has. */
  #load() {
    this.isStored = true;
    this.#token = this.#known = this.#stored.read();
    this.#received = Number(this.#storedReceived.read()) || 0;
  }
}
