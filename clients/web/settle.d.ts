/** The version of this client, reported as `settle-web/VERSION`. */
export const VERSION: string;

/**
 * Starts the client: begins a session and sends the queued events of an earlier visit. Call it once per page.
 * @throws TypeError when `url`, `key` or `appVersion` is missing.
 */
export function start(options: Options): Client;

/** The settings of a client. */
export interface Options {
  /** The URL of settle, such as `https://settle.example.com`. */
  url: string;
  /** The publishable key of the platform: `pk_…`. It is in every copy of the app, so it is not secret. */
  key: string;
  /** The version of the app. */
  appVersion: string;
  /** The operating system; by default, it is detected from the user agent. */
  os?: { name: string; version: string };
  /**
   * The receipts on the device. Each `device.session.start` contains the first 50 that fit into its 16 KiB. A function
   * is called at the start of each session.
   */
  receipts?: Receipt[] | (() => Receipt[]);
  /** The app's own device id in Amplitude, if it uses Amplitude itself. */
  analyticsDeviceId?: string;
  /** The prefix of the names in `localStorage`; default `settle`. Each platform in one origin needs its own prefix. */
  name?: string;
  /** Maximum number of queued events; default 1000. Beyond it the oldest event is dropped and counted. */
  maxQueued?: number;
  /** Receives each event that settle refused. It is removed from the queue, because it would be refused again. */
  onRejected?: (rejected: Rejected) => void;
  /** Receives the failure of each report. Its events stay queued and are sent again. */
  onError?: (error: RequestError) => void;
}

/** The client of one page. */
export interface Client {
  /** Reports that a paywall was shown. Returns the id of the event, for `impression_id` of a transaction. */
  impression(impression: Impression): string;
  /** Reports a purchase that was made or restored on the device. Returns the id of the event. */
  transaction(transaction: Transaction): string;
  /**
   * Sends the queued events, then identifies the customer who uses the device. `token` is signed by your server.
   * Rejects with {@link RequestError}. The client does not repeat it: the app decides.
   */
  login(externalId: string, token?: string): Promise<Login>;
  /** Sends the queued events, then gives the device a new anonymous user. Rejects as `login` does. */
  logout(): Promise<Logout>;
  /**
   * Returns the current entitlements of the device. Without a connection, resolves to the last answer with `is_current:
   * false`, or rejects with {@link RequestError} if there is none.
   */
  entitlements(): Promise<Entitlements>;
  /**
   * Sends the queued events now, except before a time set by `Retry-After`. Resolves after one attempt, even if it
   * failed.
   */
  flush(): Promise<void>;
  /** Returns the current state of the client. */
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
  /** The id that `impression` returned for the paywall that led to the purchase. */
  impression_id?: string;
}

export interface Login {
  /** The device's own user, named by its events before the first login. */
  device_user_id: string;
  external_id: string;
}

export interface Logout {
  /** The device's own user, named by its events from now on. */
  device_user_id: string;
}

export interface Entitlements {
  device_user_id: string;
  entitlements: Entitlement[];
  /** Whether this is a current answer of settle. If false, it is the last one: compare `expiration`. */
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

/** The failure of a request. */
export interface RequestError extends Error {
  /** The HTTP status; 0 without an answer. */
  status: number;
  /** Seconds until settle accepts the next request, from `Retry-After`. */
  retryAfter: number | null;
  /** The problem details (RFC 9457), if the answer has them. */
  problem: { title?: string; detail?: string; errors?: FieldError[] } | null;
}

export interface State {
  device_id: string;
  session_id: string | null;
  /** Number of queued events. */
  queued: number;
  /** Number of events dropped from a full queue since the app was installed. */
  dropped: number;
  /**
   * Whether the queue and the device, including its secret, survive a reload; false where the browser stores nothing.
   */
  is_persistent: boolean;
}

/** The global name in pages that load the file by a script tag. */
export as namespace Settle;
