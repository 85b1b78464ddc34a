package webpage

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
)

// ErrForm says that a body is not one of ours.
var ErrForm = errors.New("body is not a form we know")

// ReadForm reads a POST body of the two types that RFC 8058 section 3.2 names.
// It looks at the body alone, never at the query, and keeps no file.
func ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, ErrForm
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	switch kind {
	case "application/x-www-form-urlencoded":
		b, err := io.ReadAll(body)
		if err != nil {
			return nil, ErrForm
		}
		v, err := url.ParseQuery(string(b))
		if err != nil || len(v) > maxFields {
			return nil, ErrForm
		}
		return v, nil
	case "multipart/form-data":
		return readMultipart(multipart.NewReader(body, params["boundary"]), params["boundary"])
	}
	return nil, ErrForm
}

func readMultipart(mr *multipart.Reader, boundary string) (url.Values, error) {
	if boundary == "" {
		return nil, ErrForm
	}
	out := url.Values{}
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil || len(out) >= maxFields {
			return nil, ErrForm
		}
		if p.FormName() == "" || p.FileName() != "" {
			continue
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, ErrForm
		}
		out.Add(p.FormName(), string(b))
	}
}

// Has tells whether a form holds the field with exactly that value.
func Has(v url.Values, name, value string) bool {
	for _, x := range v[name] {
		if x == value {
			return true
		}
	}
	return false
}
