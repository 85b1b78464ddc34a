package unsubscribe

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
)

const (
	maxBody   = 64 << 10 // octets of a POST that are looked at
	maxFields = 200
	maxValue  = 4 << 10
)

var errForm = errors.New("body is not a form we know")

// readForm reads a POST body of the two types that RFC 8058 section 3.2 names.
// It looks at the body alone, never at the query, and keeps no file.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, errForm
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	switch kind {
	case "application/x-www-form-urlencoded":
		b, err := io.ReadAll(body)
		if err != nil {
			return nil, errForm
		}
		v, err := url.ParseQuery(string(b))
		if err != nil || len(v) > maxFields {
			return nil, errForm
		}
		return v, nil
	case "multipart/form-data":
		return readMultipart(multipart.NewReader(body, params["boundary"]), params["boundary"])
	}
	return nil, errForm
}

func readMultipart(mr *multipart.Reader, boundary string) (url.Values, error) {
	if boundary == "" {
		return nil, errForm
	}
	out := url.Values{}
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil || len(out) >= maxFields {
			return nil, errForm
		}
		if p.FormName() == "" || p.FileName() != "" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p, maxValue))
		if err != nil {
			return nil, errForm
		}
		out.Add(p.FormName(), string(b))
	}
}

// isOneClick tells whether the form holds the pair of RFC 8058 section 3.1.
// Further fields are ignored (UNS-4).
func isOneClick(v url.Values) bool {
	return has(v, "List-Unsubscribe", "One-Click")
}

func has(v url.Values, name, value string) bool {
	for _, x := range v[name] {
		if x == value {
			return true
		}
	}
	return false
}
