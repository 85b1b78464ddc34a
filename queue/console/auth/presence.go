package auth

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Editing notes that a user writes in a case now.
func (s *Store) Editing(ctx context.Context, no, user string, life time.Duration) error {
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, keyEditing(no), user, s.o.Now().Unix())
		p.Expire(ctx, keyEditing(no), life)
		return nil
	})
	if err != nil {
		return fmt.Errorf("note who writes: %w", err)
	}
	return nil
}

// Editors names the users who wrote in a case within life, by name.
func (s *Store) Editors(ctx context.Context, no string, life time.Duration) ([]string, error) {
	f, err := s.rdb.HGetAll(ctx, keyEditing(no)).Result()
	if err != nil {
		return nil, fmt.Errorf("read who writes: %w", err)
	}
	var out []string
	for name, at := range f {
		if n, _ := strconv.ParseInt(at, 10, 64); s.o.Now().Sub(time.Unix(n, 0)) < life {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out, nil
}
