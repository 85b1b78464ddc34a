package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is the head of a log: who it is of, how many records it holds and
// the hash over them all (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Signed string // the signed note, as handed out
}

// ErrCheckpoint says that a checkpoint is malformed or not signed by the key.
var ErrCheckpoint = errors.New("checkpoint does not verify")

func signCheckpoint(s note.Signer, size int64, root tlog.Hash) (string, error) {
	text := s.Name() + "\n" + strconv.FormatInt(size, 10) + "\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint: %w", err)
	}
	return string(signed), nil
}

// OpenCheckpoint checks the signature of a checkpoint and reads it. publicKey
// is a verifier key as Ledger.PublicKey gives it. Errors wrap ErrCheckpoint.
func OpenCheckpoint(signed, publicKey string) (Checkpoint, error) {
	v, err := note.NewVerifier(publicKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: public key can't be read: %w", ErrCheckpoint, err)
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return Checkpoint{}, fmt.Errorf("%w: it is of another log or malformed", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: root", ErrCheckpoint)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root), Signed: signed}, nil
}

// Checkpoints finds the signed checkpoints of one log, named by its origin, in
// a text that may hold others and other words, as a mail or a file to which
// each day's anchor is added. It does not check them: OpenCheckpoint does.
func Checkpoints(text, origin string) (out []string) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i+4 < len(lines); i++ {
		if lines[i] != origin || lines[i+3] != "" {
			continue
		}
		end := i + 4
		for end < len(lines) && strings.HasPrefix(lines[end], "— ") {
			end++
		}
		if end > i+4 {
			out = append(out, strings.Join(lines[i:end], "\n")+"\n")
			i = end - 1
		}
	}
	return out
}

// noteKeys makes signer and verifier key of a log in the form of signed notes
// (C2SP signed-note, Ed25519).
func noteKeys(origin string, seed []byte) (note.Signer, string, error) {
	if origin == "" || strings.ContainsAny(origin, " \t\r\n+") {
		return nil, "", fmt.Errorf("ledger origin %q: it may hold no space, line or plus", origin)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, "", fmt.Errorf("ledger signing key: %d octets, %d are needed", len(seed), ed25519.SeedSize)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return nil, "", fmt.Errorf("ledger signing key: %w", err)
	}
	const ed25519Note = 1
	id := sha256.Sum256(append([]byte(origin+"\n"), append([]byte{ed25519Note}, public...)...))
	secret := "PRIVATE+KEY+" + origin + "+" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(id[:]))) +
		"+" + base64.StdEncoding.EncodeToString(append([]byte{ed25519Note}, seed...))
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", fmt.Errorf("ledger signing key: %w", err)
	}
	return signer, verifier, nil
}
