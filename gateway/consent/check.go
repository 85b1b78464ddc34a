package consent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
)

// Check pings Redis and compares the subject-id keys: an empty Redis takes
// this node's, any other has to know exactly them (design D8). It also brings
// Redis up to the journal. Errors wrap ErrStoreUnavailable or ErrForeignKey.
func (r *Registry) Check(ctx context.Context) error {
	_, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (struct{}, error) {
		if err := r.rdb.Ping(ctx).Err(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, r.checkKeys(ctx)
	})
	if err == nil {
		err = asUnavailable(r.heal(ctx))
	}
	if err != nil {
		return fmt.Errorf("check consent store: %w", err)
	}
	return nil
}

// errSome ends a scan that found what it looked for.
var errSome = errors.New("found")

func (r *Registry) checkKeys(ctx context.Context) error {
	known, err := r.rdb.HGetAll(ctx, keyFingerprints).Result()
	if err != nil {
		return err
	}
	if len(known) == 0 {
		err := r.eachSubject(ctx, func([]address.SubjectID) error { return errSome })
		if errors.Is(err, errSome) {
			return fmt.Errorf("%w: it holds persons but no fingerprint of the keys they are stored under; restore Redis whole, or register the keys with AdmitKeys", ErrForeignKey)
		}
		if err != nil {
			return err
		}
		return r.claim(ctx)
	}
	return compareKeys(r.ring.Fingerprints(), known)
}

func compareKeys(mine []string, known map[string]string) error {
	missing := map[string]bool{}
	for id := range known {
		missing[id] = true
	}
	for _, f := range mine {
		id, print, _ := strings.Cut(f, ":")
		switch had, ok := known[id]; {
		case !ok:
			return fmt.Errorf("%w: key %q is new to it; a rotation registers it first", ErrForeignKey, id)
		case had != print:
			return fmt.Errorf("%w: key %q differs from the one it was filled with; put back this installation's key file", ErrForeignKey, id)
		}
		delete(missing, id)
	}
	for id := range missing {
		return fmt.Errorf("%w: key %q is used by other nodes and missing here", ErrForeignKey, id)
	}
	return nil
}

// claim writes the fingerprints; whoever came first wins, and the others compare.
func (r *Registry) claim(ctx context.Context) error {
	for _, f := range r.ring.Fingerprints() {
		id, print, _ := strings.Cut(f, ":")
		if err := r.rdb.HSetNX(ctx, keyFingerprints, id, print).Err(); err != nil {
			return err
		}
	}
	known, err := r.rdb.HGetAll(ctx, keyFingerprints).Result()
	if err != nil {
		return err
	}
	return compareKeys(r.ring.Fingerprints(), known)
}

// AdmitKeys registers this node's keys with the store after a rotation. At
// least one has to be known there already, and none may differ, so that no
// person is lost sight of. Nodes without the new key stop mailing until they
// have it. Errors wrap ErrForeignKey or ErrStoreUnavailable.
func (r *Registry) AdmitKeys(ctx context.Context) error {
	_, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (struct{}, error) {
		known, err := r.rdb.HGetAll(ctx, keyFingerprints).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return struct{}{}, err
		}
		var old []string
		for _, f := range r.ring.Fingerprints() {
			id, _, _ := strings.Cut(f, ":")
			if _, ok := known[id]; ok {
				old = append(old, f)
			}
		}
		if len(known) > 0 {
			if err := compareKeys(old, known); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, r.claim(ctx)
	})
	return err
}
