// Says, line by line, what the library of npm thinks of all requests that are kept in a folder.

const { Webhook } = require("standardwebhooks");
const { readdirSync, readFileSync } = require("fs");
const { join } = require("path");

// Longer than the five minutes that the library allows.
const LATE_SECONDS = 301;

// Why it refuses a request that is looked at then; null when it does not.
function refusal(secret, body, headers, nowSeconds) {
  Date.now = () => nowSeconds * 1000;
  try {
    new Webhook(secret).verify(body, headers);
    return null;
  } catch (error) {
    return String(error);
  }
}

function answer(request, secret) {
  const headers = {
    "webhook-id": request.id,
    "webhook-timestamp": request.timestamp,
    "webhook-signature": request.signature,
  };
  const sent = Number(request.timestamp);
  const body = Buffer.from(request.body, "base64");
  const changed = Buffer.from(body);
  changed[0] ^= 1;
  return {
    refusal: refusal(secret, body, headers, sent),
    changed: refusal(secret, changed, headers, sent),
    late: refusal(secret, body, headers, sent + LATE_SECONDS),
  };
}

const folder = process.argv[2];
for (const name of readdirSync(folder).sort()) {
  for (const line of readFileSync(join(folder, name), "utf8").split("\n").filter((text) => text !== "")) {
    const request = JSON.parse(line);
    console.log(JSON.stringify(request.said.map((said) => answer(request, said.secret))));
  }
}
