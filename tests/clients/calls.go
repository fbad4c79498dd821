// Calls through the client that oapi-codegen generates, in its package `settle`:
//
//	calls URL        with SETTLE_ADMIN_TOKEN
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strings"

	"example.com/calls/settle"
)

const sales = `Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price
t1,2026-01-31T12:00:00Z,Charge,month,a receipt,USD,9.99
`

// found returns the successful answer. The program ends on a problem.
func found[T any](answer *T, body []byte) T {
	if answer == nil {
		log.Fatal(string(body))
	}
	return *answer
}

// must returns the response. The program ends if the request could not be sent.
func must[T any](answer *T, err error) *T {
	if err != nil {
		log.Fatal(err)
	}
	return answer
}

func main() {
	ctx := context.Background()
	authorize := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+os.Getenv("SETTLE_ADMIN_TOKEN"))
		return nil
	}
	client := must(settle.NewClientWithResponses(os.Args[1], settle.WithRequestEditorFn(authorize)))
	created := must(client.CreateAppWithResponse(ctx, nil, settle.NewApp{Name: "go"}))
	app := found(created.JSON201, created.Body).Id
	fire := settle.NewPlatform{Name: "fire", Store: "amazon", PackageName: "com.example.reader"}
	platform := must(client.CreatePlatformWithResponse(ctx, app, nil, fire))
	found(platform.JSON201, platform.Body)
	anna, user := "anna", "u1"
	named := must(client.NameCustomerWithResponse(ctx, app, nil, settle.NamedCustomer{ExternalId: anna, AppUserId: &user}))
	sandbox := settle.GetCustomerStateParamsEnvironmentSandbox
	params := &settle.GetCustomerStateParams{ExternalId: &anna, Environment: &sandbox}
	state := must(client.GetCustomerStateWithResponse(ctx, app, params))
	shown := found(state.JSON200, state.Body)
	if shown.UserId != found(named.JSON200, named.Body).UserId || shown.Environment != settle.EnvironmentSandbox {
		log.Fatal(string(state.Body))
	}
	overview := must(client.GetOverviewWithResponse(ctx, nil))
	found(overview.JSON200, overview.Body)
	key := must(client.CreateKeyWithResponse(ctx, nil, settle.NewKey{Name: "go", Role: "support", AppId: &app}))
	found(key.JSON201, key.Body)
	report := must(client.ImportSalesWithBodyWithResponse(ctx, app, nil, "text/csv", strings.NewReader(sales)))
	found(report.JSON200, report.Body)
}
