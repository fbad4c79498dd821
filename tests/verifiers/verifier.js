// Prints, one line per request, the verdicts of the npm library on all requests stored in a folder. The library knows
// `v1` only; with a public key, node's own `crypto` verifies `v1a`.

const { Webhook } = require("standardwebhooks");
const { createPublicKey, generateKeyPairSync, randomBytes, verify } = require("crypto");
const { readdirSync, readFileSync } = require("fs");
const { join } = require("path");

// More than the five minutes that the library allows.
const LATE_SECONDS = 301;
// The prefix that makes an X.509 SubjectPublicKeyInfo of the raw 32 bytes of a public key.
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
// Keys that did not sign any request.
const STRANGERS = {
  whsec_: randomBytes(32),
  whpk_: generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" }).subarray(SPKI.length),
};

function verifyAsymmetric(key, body, headers) {
  const raw = Buffer.from(key.slice("whpk_".length), "base64");
  const publicKey = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
  const text = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
  const signatures = headers["webhook-signature"].split(" ").filter((signature) => signature.startsWith("v1a,"));
  const bytes = signatures.map((signature) => Buffer.from(signature.slice("v1a,".length), "base64"));
  if (!bytes.some((signature) => verify(null, text, publicKey, signature))) {
    throw new Error("No matching signature");
  }
}

// Returns the reason why the library refuses a request that arrives at this time; null if it accepts it.
function refusal(key, body, headers, nowSeconds) {
  Date.now = () => nowSeconds * 1000;
  try {
    if (key.startsWith("whpk_")) {
      verifyAsymmetric(key, body, headers);
    } else {
      new Webhook(key).verify(body, headers);
    }
    return null;
  } catch (error) {
    return String(error);
  }
}

function answer(request, key) {
  const headers = {
    "webhook-id": request.id,
    "webhook-timestamp": request.timestamp,
    "webhook-signature": request.signature,
  };
  const sent = Number(request.timestamp);
  const body = Buffer.from(request.body, "base64");
  const changed = Buffer.from(body);
  changed[0] ^= 1;
  const prefix = key.slice(0, key.indexOf("_") + 1);
  const stranger = prefix + STRANGERS[prefix].toString("base64");
  return {
    refusal: refusal(key, body, headers, sent),
    changed: refusal(key, changed, headers, sent),
    moved: refusal(key, body, { ...headers, "webhook-timestamp": String(sent + 1) }, sent),
    stranger: refusal(stranger, body, headers, sent),
    late: refusal(key, body, headers, sent + LATE_SECONDS),
  };
}

const folder = process.argv[2];
for (const name of readdirSync(folder).sort()) {
  for (const line of readFileSync(join(folder, name), "utf8").split("\n").filter((text) => text !== "")) {
    const request = JSON.parse(line);
    console.log(JSON.stringify(request.results.map((result) => answer(request, result.key))));
  }
}
