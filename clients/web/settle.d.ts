/** The version of this client; it is reported as `settle-web/VERSION`. */
export const VERSION: string;

/**
 * Starts reporting: begins a session, and sends what an earlier visit left in the queue. Call it once in a page.
 *
 * @throws TypeError when `url`, `key` or `appVersion` is missing.
 */
export function start(options: Options): Client;

/** The settings of a client. */
export interface Options {
  /** Where settle listens, such as `https://settle.example.com`. */
  url: string;
  /** The publishable key of the platform: `pk_…`. It is in every copy of the app, so it is no secret. */
  key: string;
  /** The version of the app. */
  appVersion: string;
  /** The operating system; without it, it is read from the user agent. */
  os?: { name: string; version: string };
  /**
   * The receipts on the device. Each `device.session.start` has the first 50, as far as its 16 KiB have room. A function
   * is called for each.
   */
  receipts?: Receipt[] | (() => Receipt[]);
  /** The app's own device id in Amplitude, if it uses Amplitude itself. */
  analyticsDeviceId?: string;
  /** The prefix of the names in `localStorage`; default `settle`. Two platforms in one origin need two. */
  name?: string;
  /** Maximum number of events that wait; default 1000. Beyond it the oldest is dropped and counted. */
  maxQueued?: number;
  /** Receives each event that settle refused. It is removed from the queue: sending it again is no use. */
  onRejected?: (rejected: Rejected) => void;
  /** Receives the failure of each report. The events stay in the queue and are sent again. */
  onError?: (error: RequestError) => void;
}

/** The client of one page. */
export interface Client {
  /** Reports that a paywall was shown. Returns the id of the event, for `impression_id` of a transaction. */
  impression(impression: Impression): string;
  /** Reports a purchase that was made or restored on the device. Returns the id of the event. */
  transaction(transaction: Transaction): string;
  /**
   * Names the customer who uses the device, after sending what waits. `token` is signed by your server.
   *
   * Fails with {@link RequestError}, and is not repeated: the app decides.
   */
  login(externalId: string, token?: string): Promise<Login>;
  /** Gives the device a new anonymous user, after sending what waits. Fails as `login` does. */
  logout(): Promise<Logout>;
  /**
   * What may be used on this device now. Without a connection, the last answer with `is_current: false`; without an
   * earlier answer it fails with {@link RequestError}.
   */
  entitlements(): Promise<Entitlements>;
  /** Sends what waits now, unless settle named a time to wait for. Resolves after the attempt, successful or not. */
  flush(): Promise<void>;
  /** What the client holds. */
  state(): State;
}

/** A receipt on the device. */
export interface Receipt {
  receipt_id: string;
  app_user_id: string;
}

/** A paywall that was shown. */
export interface Impression {
  paywall: string;
  placement?: string;
  campaign?: string;
  variant?: string;
  products?: Product[];
}

/** A product on a paywall. */
export interface Product {
  sku: string;
  /** A decimal text, such as `9.99`. */
  price?: string;
  /** ISO 4217; required with a price. */
  currency?: string;
  is_trial_eligible?: boolean;
}

/** A purchase that was made or restored on the device. */
export interface Transaction {
  kind: "purchased" | "restored";
  receipt_id: string;
  app_user_id: string;
  /** The SKU of the term. */
  sku: string;
  /** A decimal text, such as `9.99`. */
  price?: string;
  /** ISO 4217; required with a price. */
  currency?: string;
  /** The country of the customer's marketplace. */
  marketplace?: string;
  /** What `impression` returned for the paywall that led to it. */
  impression_id?: string;
}

export interface Login {
  /** The device's own user, which its events named before the first login. */
  device_user_id: string;
  external_id: string;
}

export interface Logout {
  /** The device's own user, which its events name from now on. */
  device_user_id: string;
}

export interface Entitlements {
  device_user_id: string;
  entitlements: Entitlement[];
  /** Whether settle answered now. Otherwise this is its last answer: compare `expiration`. */
  is_current: boolean;
}

export interface Entitlement {
  entitlement_ref_id: string;
  name: string | null;
  expiration: string | null;
  sku_ref_id: string | null;
  purchase_platform: string | null;
}

/** An event that settle refused. */
export interface Rejected {
  event: { id: string; type: string; [field: string]: unknown };
  errors: FieldError[];
}

/** A wrong field. */
export interface FieldError {
  field: string;
  expected: string;
}

/** A request that failed. */
export interface RequestError extends Error {
  /** The status; 0 without an answer. */
  status: number;
  /** Seconds until settle takes the next request, if it named them. */
  retryAfter: number | null;
  /** The problem details (RFC 9457), if the answer has them. */
  problem: { title?: string; detail?: string; errors?: FieldError[] } | null;
}

export interface State {
  device_id: string;
  session_id: string | null;
  /** Number of events that wait. */
  queued: number;
  /** Number of events that were dropped because too many waited, since the app was installed. */
  dropped: number;
  /** Whether the queue and the device, with its secret, survive a reload; false where the browser stores nothing. */
  is_persistent: boolean;
}

/** The name of the global in pages that load the file by a script tag. */
export as namespace Settle;
