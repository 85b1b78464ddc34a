package env

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// DovecotServer is a real Dovecot with one account over maildir.
type DovecotServer struct {
	Addr     string // IMAP in clear on loopback
	User     string
	Password string
	Dir      string
	t        TB
	conf     string
	proc     *Process
}

// Dovecot starts an IMAP server with the folders INBOX, Junk and Done for the
// account privacy@example.org. Extra lines go to the end of its config.
func Dovecot(t TB, extra ...string) *DovecotServer {
	t.Helper()
	d := &DovecotServer{User: "privacy@example.org", Password: "geheim", Dir: t.TempDir(), t: t}
	port := FreePort(t)
	d.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	me, err := user.Current()
	if err != nil {
		t.Fatalf("who am I: %v", err)
	}
	owner := me
	if me.Uid == "0" { // Dovecot refuses mail owned by root
		if owner, err = user.Lookup("nobody"); err != nil {
			t.Fatalf("look up nobody: %v", err)
		}
	}
	if err := os.Chmod(d.Dir, 0o777); err != nil { // the mail user writes here
		t.Fatalf("open the directory: %v", err)
	}
	for p := filepath.Dir(d.Dir); p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	group, err := user.LookupGroupId(owner.Gid)
	if err != nil {
		t.Fatalf("look up group %s: %v", owner.Gid, err)
	}
	writeFile(t, filepath.Join(d.Dir, "users"), fmt.Sprintf("%s:{PLAIN}%s:%s:%s::%s/home::\n",
		d.User, d.Password, owner.Uid, owner.Gid, d.Dir), 0o644)
	login := fmt.Sprintf("default_login_user = %s\ndefault_internal_user = %s\ndefault_internal_group = %s\n", me.Username, me.Username, group.Name)
	if me.Uid == "0" {
		login = "" // the package's own accounts
	}
	d.conf = filepath.Join(d.Dir, "dovecot.conf")
	writeFile(t, d.conf, fmt.Sprintf(`%[5]sbase_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:%[1]s/mail
mail_fsync = optimized
mailbox_idle_check_interval = 1 s
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
namespace inbox {
  inbox = yes
  mailbox Junk {
    auto = create
    special_use = \Junk
  }
  mailbox Done {
    auto = create
  }
}
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = passwd-file
  args = %[1]s/users
}
%[3]s
# owner %[4]s
`, d.Dir, port, strings.Join(extra, "\n"), owner.Username, login), 0o644)
	d.Start()
	return d
}

// Start starts the server again after Kill, over the same mail.
func (d *DovecotServer) Start() {
	d.t.Helper()
	d.clearLocks()
	d.proc = Start(d.t, "/usr/sbin/dovecot", "-F", "-c", d.conf)
	WaitPort(d.t, d.proc, d.Addr)
}

// Kill ends the master and its children by SIGKILL.
func (d *DovecotServer) Kill() {
	d.proc.Kill()
	_ = os.Remove(filepath.Join(d.Dir, "run", "master.pid"))
}

// clearLocks removes the locks that killed processes left in the maildir:
// Dovecot waits up to two minutes before it overrides one.
func (d *DovecotServer) clearLocks() {
	for _, pattern := range []string{"*lock", ".*/*lock"} {
		locks, _ := filepath.Glob(filepath.Join(d.Dir, "mail", pattern))
		for _, l := range locks {
			_ = os.Remove(l)
		}
	}
}

// Deliver hands a message to the account's INBOX as a mail server would, by
// Dovecot's own delivery agent.
func (d *DovecotServer) Deliver(raw []byte) {
	d.t.Helper()
	cmd := exec.Command("/usr/lib/dovecot/dovecot-lda", "-c", d.conf, "-d", d.User)
	cmd.Stdin = bytes.NewReader(raw)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("dovecot-lda: %v\n%s\n%s", err, out, d.proc.Output())
	}
}

// Output is the last of what the server printed.
func (d *DovecotServer) Output() string { return d.proc.Output() }
