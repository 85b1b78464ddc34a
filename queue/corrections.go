package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/classifier"
)

// Correction is what an operator said a mail asks for, against what was read:
// material to train the classifier with. Text and Subject are empty unless
// asked for.
type Correction struct {
	Time     time.Time          `json:"time"`
	Language string             `json:"language"`
	Kind     classifier.Kind    `json:"kind"`
	Was      []classifier.Label `json:"was"`
	Labels   []classifier.Label `json:"labels"`
	Unsure   bool               `json:"unsure,omitempty"` // the classifier had abstained
	Subject  string             `json:"subject,omitempty"`
	Text     string             `json:"text,omitempty"`
}

// Corrections yields the last correction of every case that has one, in the
// order of receipt. With texts it opens the first mail of each.
func (q *Queue) Corrections(ctx context.Context, texts bool, yield func(Correction) error) error {
	numbers, err := q.rdb.ZRange(ctx, keyAll, 0, -1).Result()
	if err != nil {
		return fmt.Errorf("look for corrections: %w", err)
	}
	for chunk := range slices.Chunk(numbers, 500) {
		logs := make([]*redis.StringSliceCmd, len(chunk))
		_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, no := range chunk {
				logs[i] = p.LRange(ctx, keyLog(no), 0, -1)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for corrections: %w", err)
		}
		for i, no := range chunk {
			c, ok, err := lastCorrection(no, logs[i].Val())
			if err == nil && ok {
				err = q.fillCorrection(ctx, no, texts, &c)
			}
			if errors.Is(err, ErrUnknown) {
				continue // deleted in between
			}
			if err == nil && ok {
				err = yield(c)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func lastCorrection(no string, lines []string) (out Correction, ok bool, err error) {
	for i, line := range lines {
		e, err := decodeEvent(nil, no, i, line)
		if err != nil {
			return out, false, err
		}
		if e.Action != ActLabel || !strings.HasPrefix(e.Actor, "operator:") {
			continue
		}
		was := splitLabels(e.Data["was"])
		if ok {
			was = out.Was // against what was read, not against an earlier correction
		}
		out, ok = Correction{Time: e.Time, Was: was, Labels: splitLabels(e.Data["labels"])}, true
	}
	return out, ok, nil
}

func (q *Queue) fillCorrection(ctx context.Context, no string, texts bool, out *Correction) error {
	c, _, _, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	out.Language, out.Kind = c.Language, c.Kind
	mails, err := q.FirstMails(ctx, []string{no})
	if err != nil {
		return err
	}
	in := mails[no]
	out.Unsure = in.Result.Abstain
	if texts {
		out.Subject, out.Text = in.Subject, in.Text
	}
	return nil
}
