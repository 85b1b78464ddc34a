package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// oneClick is the body of a one-click request and the value of the Post field
// (RFC 8058 section 3.1).
const oneClick = "List-Unsubscribe=One-Click"

// checkOneClick does what a provider does: it looks at the page, which must
// change nothing, and then posts (UNS-4, UNS-5). That ends the consent.
func checkOneClick(ctx context.Context, m *message, o Options) []Finding {
	if m.link == "" || o.Client == nil {
		const what, do = "the link was not tried", "run again with the network, on a message with one https link"
		return []Finding{unchecked(NameGET, what, do), unchecked(NamePOST, what, do)}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return []Finding{checkGET(ctx, m, &client, o), checkPOST(ctx, m, &client, o)}
}

const reachDo = "look whether public.url leads to the public listener, through the TLS proxy, from outside"

func checkGET(ctx context.Context, m *message, c *http.Client, o Options) Finding {
	status, body, err := request(ctx, c, o, http.MethodGet, m.link)
	switch {
	case err != nil:
		return fail(NameGET, "the page is not reachable: "+err.Error(), reachDo)
	case status/100 == 3:
		return fail(NameGET, fmt.Sprintf("GET is answered by a redirect (%d)", status), reachDo)
	case status != http.StatusOK:
		return fail(NameGET, fmt.Sprintf("GET is answered %d", status), reachDo)
	case !strings.Contains(strings.ToLower(body), "<form") || !strings.Contains(strings.ToLower(body), "post"):
		return fail(NameGET, "GET does not show a page with a button: a scanner's visit may have acted already", "let GET only show a page (RFC 8058 section 3.2)")
	}
	return pass(NameGET, "GET shows a page with a button")
}

func checkPOST(ctx context.Context, m *message, c *http.Client, o Options) Finding {
	status, _, err := request(ctx, c, o, http.MethodPost, m.link)
	switch {
	case err != nil:
		return fail(NamePOST, "the one-click request is not answered: "+err.Error(), reachDo)
	case status/100 == 3:
		return fail(NamePOST, fmt.Sprintf("POST is answered by a redirect (%d), which one-click forbids (RFC 8058 section 3.1)", status), reachDo)
	case status != http.StatusOK:
		return fail(NamePOST, fmt.Sprintf("POST is answered %d, 200 is needed", status), reachDo)
	}
	return pass(NamePOST, "POST is answered 200, directly")
}

// request does one request. The error names neither link nor token.
func request(ctx context.Context, c *http.Client, o Options, method, link string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var in io.Reader
	if method == http.MethodPost {
		in = strings.NewReader(oneClick)
	}
	req, err := http.NewRequestWithContext(ctx, method, link, in)
	if err != nil {
		return 0, "", errors.New("the link is no URL")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", bare(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, "", errors.New("the answer breaks off")
	}
	return resp.StatusCode, string(body), nil
}

// bare is the cause without the URL that the client puts before it.
func bare(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return errors.New("the request failed")
}
