package portal

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strings"

	"postern/queue/fulfil"
)

const (
	maxFiles      = 32 << 20 // octets of all files of one answer, as the queue takes them
	maxFileCount  = 50
	maxFieldBytes = 64 << 10 // octets of all other fields
	maxUpload     = maxFiles + 1<<20
)

// Errors of an upload.
var (
	errTooLarge = errors.New("files are too large or too many")
	errUnread   = errors.New("form can't be read")
)

// readUpload reads a form with files. Names are the sender's; the queue makes
// them safe to use as names.
func readUpload(w http.ResponseWriter, r *http.Request) (url.Values, []fulfil.File, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, nil, errUnread
	}
	if r.ContentLength > maxUpload {
		return nil, nil, errTooLarge
	}
	mr := multipart.NewReader(http.MaxBytesReader(w, r.Body, maxUpload), params["boundary"])
	fields, files, sum, words := url.Values{}, []fulfil.File(nil), 0, 0
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, files, nil
		}
		if err != nil {
			return nil, nil, uploadError(err)
		}
		room := maxFieldBytes - words
		if p.FileName() != "" {
			room = maxFiles - sum
		}
		b, err := io.ReadAll(io.LimitReader(p, int64(room)+1))
		switch {
		case err != nil:
			return nil, nil, uploadError(err)
		case len(b) > room, len(files) >= maxFileCount && p.FileName() != "", len(fields) >= 50:
			return nil, nil, errTooLarge
		case p.FileName() == "":
			words += len(b)
			if p.FormName() != "files" { // an empty file field
				fields.Add(p.FormName(), string(b))
			}
		case p.FormName() == "files":
			sum += len(b)
			files = append(files, fulfil.File{Name: path.Base(strings.ReplaceAll(p.FileName(), "\\", "/")), Type: typeOf(p.Header.Get("Content-Type")), Data: b})
		}
	}
}

func uploadError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return errTooLarge
	}
	return errUnread
}

// typeOf takes the sender's word for a type where it is one.
func typeOf(declared string) string {
	kind, _, err := mime.ParseMediaType(declared)
	if err != nil || !strings.Contains(kind, "/") {
		return "application/octet-stream"
	}
	return kind
}
