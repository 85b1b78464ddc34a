package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path"

	"go.yaml.in/yaml/v3"
)

// route is one line of the table: what is served, under which name of the
// document, to which scope, by what.
type route struct {
	method    string
	path      string // under Base; pattern of http.ServeMux and of the document
	operation string
	scope     Scope // "": open
	serve     func(*call) (answer, error)
	limit     int64 // octets of a body; 0: 256 KiB
}

// routes is everything the API answers. Tests hold it and the document against
// each other and walk it with every scope.
var routes = []route{
	{method: "GET", path: "/openapi.json", operation: "document", serve: openapi},
	{method: "GET", path: "/status", operation: "status", scope: StatusRead, serve: status},

	{method: "POST", path: "/consent/sign-ups", operation: "signUp", scope: ConsentWrite, serve: signUp},
	{method: "POST", path: "/consent/grants", operation: "grant", scope: ConsentWrite, serve: grant},
	{method: "POST", path: "/consent/withdrawals", operation: "withdraw", scope: ConsentWrite, serve: withdraw},
	{method: "POST", path: "/consent/check", operation: "check", scope: ConsentRead, serve: check},
	{method: "POST", path: "/consent/history", operation: "history", scope: ConsentRead, serve: history},
	{method: "POST", path: "/consent/records", operation: "records", scope: ConsentRead, serve: records},

	{method: "GET", path: "/suppressions", operation: "listSuppressions", scope: SuppressionsRead, serve: listSuppressions},
	{method: "POST", path: "/suppressions", operation: "suppress", scope: SuppressionsWrite, serve: suppress},
	{method: "POST", path: "/suppressions/search", operation: "searchSuppressions", scope: SuppressionsRead, serve: personSuppressions},
	{method: "POST", path: "/suppressions/release", operation: "releaseSuppressions", scope: SuppressionsRelease, serve: release},
	{method: "GET", path: "/suppressions/export", operation: "exportSuppressions", scope: SuppressionsRead, serve: exportSuppressions},

	{method: "GET", path: "/cases", operation: "listCases", scope: CasesRead, serve: listCases},
	{method: "POST", path: "/cases", operation: "newCase", scope: CasesWrite, serve: newCase},
	{method: "POST", path: "/cases/search", operation: "searchCases", scope: CasesRead, serve: personCases},
	{method: "GET", path: "/cases/{number}", operation: "showCase", scope: CasesRead, serve: showCase},
	{method: "POST", path: "/cases/{number}/notes", operation: "addNote", scope: CasesWrite, serve: addNote},
	{method: "PUT", path: "/cases/{number}/owner", operation: "assign", scope: CasesWrite, serve: assign},
	{method: "PUT", path: "/cases/{number}/labels", operation: "correct", scope: CasesWrite, serve: correct},
	{method: "PUT", path: "/cases/{number}/legal-hold", operation: "legalHold", scope: CasesWrite, serve: legalHold},
	{method: "POST", path: "/cases/{number}/weighing", operation: "weigh", scope: CasesWrite, serve: weigh},
	{method: "POST", path: "/cases/{number}/breach", operation: "breach", scope: CasesWrite, serve: breach},
	{method: "POST", path: "/cases/{number}/mails/{index}/files/{file}/destruction", operation: "destroyFile", scope: CasesWrite, serve: destroyFile},
	{method: "POST", path: "/cases/{number}/mails/{index}/files/{file}/removal", operation: "fileRemoved", scope: CasesWrite, serve: fileRemoved},
	{method: "POST", path: "/cases/{number}/holds", operation: "decideHold", scope: CasesWrite, serve: decide},
	{method: "POST", path: "/cases/{number}/identity", operation: "identify", scope: CasesWrite, serve: identify},
	{method: "POST", path: "/cases/{number}/replies", operation: "reply", scope: CasesWrite, serve: sendReply},
	{method: "POST", path: "/cases/{number}/replies/preview", operation: "previewReply", scope: CasesWrite, serve: previewReply},
	{method: "DELETE", path: "/cases/{number}/replies/{index}", operation: "takeBackReply", scope: CasesWrite, serve: takeBack},
	{method: "POST", path: "/cases/{number}/extension", operation: "extend", scope: CasesWrite, serve: extend},
	{method: "POST", path: "/cases/{number}/denial", operation: "deny", scope: CasesWrite, serve: deny},
	{method: "POST", path: "/cases/{number}/lifting", operation: "lift", scope: CasesWrite, serve: lift},
	{method: "POST", path: "/cases/{number}/proposals", operation: "propose", scope: CasesWrite, serve: propose},
	{method: "POST", path: "/cases/{number}/orders", operation: "order", scope: CasesWrite, serve: order},
	{method: "POST", path: "/cases/{number}/erasure", operation: "approveErasure", scope: CasesApprove, serve: approveErasure},
	{method: "POST", path: "/cases/{number}/tasks/{index}/result", operation: "taskResult", scope: CasesWrite, serve: result, limit: 32 << 20},
	{method: "POST", path: "/cases/{number}/tasks/{index}/retry", operation: "retryTask", scope: CasesWrite, serve: retryTask},
	{method: "POST", path: "/cases/{number}/close", operation: "closeCase", scope: CasesWrite, serve: closeCase},

	{method: "GET", path: "/streams", operation: "listStreams", scope: StreamsRead, serve: listStreams},
	{method: "PUT", path: "/streams/{name}/mode", operation: "setMode", scope: StreamsWrite, serve: setMode},
	{method: "GET", path: "/reports/would-block", operation: "wouldBlock", scope: StreamsRead, serve: wouldBlock},

	{method: "GET", path: "/spool", operation: "listSpool", scope: SpoolRead, serve: listSpool},
	{method: "POST", path: "/spool/search", operation: "searchSpool", scope: SpoolRead, serve: searchSpool},
	{method: "GET", path: "/spool/{id}", operation: "showSpool", scope: SpoolRead, serve: showSpool},
	{method: "POST", path: "/spool/retry", operation: "retrySpool", scope: SpoolWrite, serve: retrySpool},
	{method: "POST", path: "/spool/hold", operation: "holdSpool", scope: SpoolWrite, serve: holdSpool},
	{method: "POST", path: "/spool/release", operation: "releaseSpool", scope: SpoolWrite, serve: releaseSpool},

	{method: "POST", path: "/ledger/prove", operation: "prove", scope: LedgerRead, serve: prove},

	{method: "GET", path: "/webhooks", operation: "listWebhooks", scope: WebhooksWrite, serve: listWebhooks},
	{method: "POST", path: "/webhooks", operation: "addWebhook", scope: WebhooksWrite, serve: subscribe},
	{method: "DELETE", path: "/webhooks/{id}", operation: "removeWebhook", scope: WebhooksWrite, serve: unsubscribeHook},
	{method: "POST", path: "/webhooks/{id}/test", operation: "testWebhook", scope: WebhooksWrite, serve: testHook},
	{method: "GET", path: "/webhooks/{id}/failed", operation: "listFailedEvents", scope: WebhooksWrite, serve: listFailed},
	{method: "POST", path: "/webhooks/{id}/failed/{event}/retry", operation: "retryFailedEvent", scope: WebhooksWrite, serve: retryFailed},
}

//go:embed openapi.yaml
var openapiYAML []byte

// document is openapi.yaml as JSON.
func document() ([]byte, error) {
	var v any
	if err := yaml.Unmarshal(openapiYAML, &v); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write openapi.json: %w", err)
	}
	return raw, nil
}

// queryNames gives the parameters of URLs that the document lists, by operation.
func queryNames(raw []byte) (map[string][]string, error) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct {
				Ref string `json:"$ref"`
			}
		}
		Components struct {
			Parameters map[string]struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	out := map[string][]string{}
	for _, operations := range doc.Paths {
		for _, o := range operations {
			for _, p := range o.Parameters {
				if known := doc.Components.Parameters[path.Base(p.Ref)]; known.In == "query" {
					out[o.OperationID] = append(out[o.OperationID], known.Name)
				}
			}
		}
	}
	return out, nil
}
