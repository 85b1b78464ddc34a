package vault

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files keeps sealed files of cases in a folder, each under the key of its
// case. Several nodes may share the folder.
type Files struct{ dir string }

// NewFiles makes the folder with mode 0700 where it is missing.
func NewFiles(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make vault folder: %w", err)
	}
	return &Files{dir}, nil
}

// Put seals data and gives the id to get it by; it is on disk when Put returns.
func (f *Files) Put(k *Key, number string, data []byte) (string, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("draw file id: %w", err)
	}
	id := hex.EncodeToString(raw)
	sealed := k.aead.Seal(nil, nil, data, []byte("file:"+number+":"+id))
	tmp, err := os.CreateTemp(f.dir, newPrefix+"*")
	if err != nil {
		return "", fmt.Errorf("write file of case %s: %w", number, err)
	}
	defer os.Remove(tmp.Name()) // gone already where all went well
	_, err = tmp.Write(sealed)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path(id))
	}
	if err == nil {
		err = syncDir(f.dir)
	}
	if err != nil {
		return "", fmt.Errorf("write file of case %s: %w", number, err)
	}
	return id, nil
}

// Get opens what Put sealed. Errors wrap ErrSealed or fs.ErrNotExist.
func (f *Files) Get(k *Key, number, id string) ([]byte, error) {
	if !validID(id) {
		return nil, fmt.Errorf("file of case %s: %w", number, os.ErrNotExist)
	}
	sealed, err := os.ReadFile(f.path(id))
	if err != nil {
		return nil, fmt.Errorf("read file of case %s: %w", number, err)
	}
	data, err := k.aead.Open(nil, nil, sealed, []byte("file:"+number+":"+id))
	if err != nil {
		return nil, fmt.Errorf("open file of case %s: %w", number, ErrSealed)
	}
	return data, nil
}

// Delete removes a file; one that is gone is fine.
func (f *Files) Delete(id string) error {
	if !validID(id) {
		return nil
	}
	if err := os.Remove(f.path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete vault file %s: %w", id, err)
	}
	return syncDir(f.dir)
}

func (f *Files) path(id string) string { return filepath.Join(f.dir, id) }

func validID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
