// Calls through openapi-fetch with the types that openapi-typescript generates:
//
//   calls.js URL        with SETTLE_ADMIN_TOKEN; `api.ts` is in the same folder
import createClient from "openapi-fetch";
import type { operations, paths } from "./api.js";

declare const process: { argv: string[]; env: Record<string, string | undefined> };

const client = createClient<paths>({
  baseUrl: process.argv[2]!,
  headers: { authorization: `Bearer ${process.env["SETTLE_ADMIN_TOKEN"]}` },
});

/** Returns the successful answer; throws on a problem. */
function found<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const app_id = found(await client.POST("/v1/apps", { body: { name: "typescript" } })).id;
const path = { app_id };
const fire = { name: "fire", store: "amazon", package_name: "com.example.reader" } as const;
found(await client.POST("/v1/apps/{app_id}/platforms", { params: { path }, body: fire }));
const named = { external_id: "anna", app_user_id: "u1" };
const { user_id } = found(await client.PUT("/v1/apps/{app_id}/customers", { params: { path }, body: named }));
const query: operations["getCustomerState"]["parameters"]["query"] = { external_id: "anna", environment: "sandbox" };
const state = found(await client.GET("/v1/apps/{app_id}/customers/state", { params: { path, query } }));
if (state.user_id !== user_id || state.environment !== "sandbox") throw new Error(JSON.stringify(state));
found(await client.GET("/v1/overview", { params: {} }));
found(await client.POST("/v1/keys", { body: { name: "typescript", role: "support", app_id } }));
const keys = found(await client.GET("/v1/keys", { params: { query: { app_id } } }));
if (keys.items[0]?.role !== "support") throw new Error(JSON.stringify(keys));
const hook = { kind: "webhook", name: "hook", url: "https://receiver.invalid/hook" } as const;
found(await client.POST("/v1/apps/{app_id}/destinations", { params: { path }, body: hook }));
const columns = "Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price";
const sale = "t1,2026-01-31T12:00:00Z,Charge,month,a receipt,USD,9.99";
found(
  await client.POST("/v1/apps/{app_id}/sales", {
    params: { path },
    body: `${columns}\n${sale}\n`,
    bodySerializer: (report: string) => report,
    headers: { "content-type": "text/csv" },
  }),
);
