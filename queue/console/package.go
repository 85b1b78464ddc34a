package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"postern/queue"
	"postern/queue/console/auth"
)

// packageMost bounds a redacted file that is handed in.
const packageMost = 32 << 20

// packageFile is a file of a package as the page shows it.
type packageFile struct {
	queue.PackageFile
	KB int
}

// packagePage shows what the systems gave, file by file: each is looked
// through for what concerns others (GDPR Art. 15(4)) before it leaves.
func (c *Console) packagePage(v *visit) error { return v.packageOf(map[string]any{}) }

func (v *visit) packageOf(data map[string]any) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := v.saw("package", &k, nil); err != nil {
		return err
	}
	p, err := v.c.d.Cases.Package(v.ctx(), k.Number)
	if err != nil && !errors.Is(err, queue.ErrUnknown) {
		return err
	}
	loc := v.c.d.Cases.NewPacer().Zone(k.Controller)
	built := !p.Built.IsZero()
	var files []packageFile
	open := 0
	for _, f := range p.Files {
		files = append(files, packageFile{f, max(1, f.Size/1000)})
		if f.Tick == "" {
			open++
		}
	}
	empty := 0
	for _, item := range p.Checklist {
		if item.Text == "" {
			empty++
		}
	}
	data["Empty"] = empty
	p.Built, p.Released, p.Until = p.Built.In(loc), p.Released.In(loc), p.Until.In(loc)
	data["Number"], data["Built"], data["P"], data["Files"], data["Open"], data["Ways"] = k.Number, built, p, files, open, queue.CodeWays
	data["Released"], data["Person"], data["By"], data["ReadOnly"] = !p.Released.IsZero() && built && p.ReleasedBy != "", v.c.d.Cases.Person(&k).Plain(), v.actor(p.By), !v.mayWork()
	return v.page("package", "package.title", data)
}

func (v *visit) mayWork() bool {
	return slices.ContainsFunc(v.user.Roles, func(r auth.Role) bool { return r == auth.Operator || r == auth.Approver })
}

// packaged runs an act on a package and shows the page again.
func (v *visit) packaged(do func(no string) error, done string) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := do(k.Number); err != nil {
		if errors.Is(err, queue.ErrOrder) || errors.Is(err, queue.ErrMove) || errors.Is(err, queue.ErrDraft) {
			v.status = http.StatusConflict
			return v.packageOf(map[string]any{"Fault": "package.refused"})
		}
		return err
	}
	return v.redirect(casePath(k.Number)+"/package", done)
}

// buildPackage collects what the systems gave; what was ticked stays ticked.
func (c *Console) buildPackage(v *visit) error {
	return v.packaged(func(no string) error {
		_, err := c.d.Cases.BuildPackage(v.ctx(), no, v.user.Actor())
		return err
	}, "package-built")
}

// tickFile says what becomes of a file: keep it, leave it out with a reason, or
// take the redacted one that is handed in.
func (c *Console) tickFile(v *visit) error {
	id, act, note := v.field("file"), v.field("act"), v.field("note")
	return v.packaged(func(no string) error {
		switch act {
		case queue.TickKeep, "":
			return c.d.Cases.TickFile(v.ctx(), no, id, act, v.user.Actor(), note)
		case queue.TickExclude:
			if note == "" {
				return fmt.Errorf("%w: a reason is needed", queue.ErrOrder)
			}
			return c.d.Cases.TickFile(v.ctx(), no, id, act, v.user.Actor(), note)
		case queue.TickRedact:
			f, _, err := v.r.FormFile("redacted")
			if err != nil {
				return fmt.Errorf("%w: no file was handed in", queue.ErrOrder)
			}
			defer f.Close()
			data, err := io.ReadAll(io.LimitReader(f, packageMost+1))
			if err != nil || len(data) == 0 || len(data) > packageMost {
				return fmt.Errorf("%w: the file can't be read", queue.ErrOrder)
			}
			return c.d.Cases.ReplaceFile(v.ctx(), no, id, data, v.user.Actor(), note)
		}
		return errForm
	}, "saved")
}

// packageDownload hands a file of the package to the operator who looks it
// through.
func (c *Console) packageDownload(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := v.saw("package-file", &k, nil); err != nil {
		return err
	}
	f, data, err := c.d.Cases.PackageFile(v.ctx(), k.Number, v.r.PathValue("id"), v.r.URL.Query().Get("form") == "redacted")
	if err != nil {
		return err
	}
	v.attachment(f.Name, "application/octet-stream", data)
	return nil
}

// setChecklist changes what Art. 15(1) lists.
func (c *Console) setChecklist(v *visit) error {
	answers := map[string]string{}
	for _, key := range queue.CheckKeys {
		answers[key] = v.field("c_" + key)
	}
	return v.packaged(func(no string) error {
		return c.d.Cases.SetChecklist(v.ctx(), no, answers, v.user.Actor())
	}, "saved")
}

// releasePackage seals the package and takes up the letter with its link. The
// code is shown here once: it goes to the person by another way.
func (c *Console) releasePackage(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	way := v.field("way")
	if !slices.Contains(queue.CodeWays, way) {
		return errForm
	}
	h, err := c.d.Cases.ReleasePackage(v.ctx(), k.Number, queue.Release{Actor: v.user.Actor(), CodeWay: way, Note: v.field("note")})
	if err != nil {
		if errors.Is(err, queue.ErrOrder) || errors.Is(err, queue.ErrMove) || errors.Is(err, queue.ErrDraft) {
			v.status = http.StatusConflict
			return v.packageOf(map[string]any{"Fault": "package.not_released"})
		}
		return err
	}
	return v.packageOf(map[string]any{"Code": h.Code, "Way": way, "Until": h.Until})
}

// newCode makes another download code, where the first one was lost.
func (c *Console) newCode(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	code, err := c.d.Cases.NewCode(v.ctx(), k.Number, v.user.Actor())
	if errors.Is(err, queue.ErrOrder) || errors.Is(err, queue.ErrMove) {
		v.status = http.StatusConflict
		return v.packageOf(map[string]any{"Fault": "package.refused"})
	}
	if err != nil {
		return err
	}
	return v.packageOf(map[string]any{"Code": code, "Until": time.Time{}})
}
